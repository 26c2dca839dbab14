"""From YAML and overrides to a typed `Experiment`: composed by Hydra, checked and bound once, at the edge."""

from __future__ import annotations

from rra_cli.config.bind import bind
from rra_cli.config.experiment import (
    ActivationsConfig,
    Experiment,
    MetricSet,
    Runtime,
    StoreConfig,
    outputs_root,
)

__all__ = ["ActivationsConfig", "Experiment", "MetricSet", "Runtime", "StoreConfig", "bind", "outputs_root"]
