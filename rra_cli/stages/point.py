"""One point of an experiment: the place at which one data set is looked at in one network."""

from __future__ import annotations

from dataclasses import dataclass

from rra_cli.activations.pooling import Pooling
from rra_cli.core.spec import Spec
from rra_cli.data.dataset import Split


@dataclass(frozen=True)
class Checkpoint:
    """Weights that are measured: `label` is what tables show, `entry` names them in the training's artifact."""

    label: str
    entry: str
    epoch: int | None  # None: only the finished training knows it ("best")


@dataclass(frozen=True)
class Point:
    """One layer, seen at one checkpoint, on one split, at one pooling scale.

    index: the layer's position among all layers. module: its dotted name ("" for the input). stage: its resolution
    stage. k: neighbours per sample that are asked for. activations, graph: what is stored for it. dataset: name of
    another data set in `transfer`, of which graphs are not made; "" for the experiment's own. alteration: name of one
    in `invariance`, where copies of the samples are looked at.
    """

    checkpoint: Checkpoint
    split: Split
    layer: str
    index: int
    module: str
    stage: str
    pooling: Pooling
    n_samples: int
    k: int
    activations: Spec
    graph: Spec
    dataset: str = ""
    alteration: str = ""

    @property
    def title(self) -> str:
        """How a person finds it again."""
        return f"{self._layer} · {self.checkpoint.label} · {self._split}"

    @property
    def data_title(self) -> str:
        """The same for its data, which at layer 0 is that of all checkpoints."""
        return self.title if self.module else f"{self._layer} · {self._split}"

    @property
    def _split(self) -> str:
        split = f"{self.split} of {self.dataset}" if self.dataset else self.split
        return f"{split}, {self.alteration}" if self.alteration else split

    @property
    def _layer(self) -> str:
        return self.layer if self.pooling.pool == "none" else f"{self.layer} {self.pooling.title}"
