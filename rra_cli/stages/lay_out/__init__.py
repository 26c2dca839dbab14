"""From a configured experiment to its stages: `lay_out`."""

from __future__ import annotations

from rra_cli.stages.lay_out.experiment import lay_out

__all__ = ["lay_out"]
