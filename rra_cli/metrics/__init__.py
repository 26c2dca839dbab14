"""Metrics of layers: arrays and graphs in, estimates out; nothing here imports torch or knows of configs and paths."""

from __future__ import annotations

from rra_cli.metrics.class_similarity import nncs
from rra_cli.metrics.estimate import Estimate
from rra_cli.metrics.intrinsic_dimension import twonn
from rra_cli.metrics.layer_similarity import nnls

__all__ = ["Estimate", "nncs", "nnls", "twonn"]
