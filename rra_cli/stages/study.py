"""What a run measures beside the metrics of its layers: studies, each with stages and tables of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rra_cli.core.store import Store
from rra_cli.stages.point import Point
from rra_cli.stages.stage import Stage


@dataclass(frozen=True)
class Target:
    """A stage that a run is for, and the walk in which it is built: a checkpoint's, of a split or of other data.

    Walks go checkpoint by checkpoint, and within one the splits come first. Captured layers are freed after a walk that
    read them, so what reads the activations of a split is best built in the split's walk.
    """

    checkpoint: str
    part: str
    stage: Stage


class Study(ABC):
    """A question of its own about a network: which stages answer it, and which tables tell the answer."""

    @property
    @abstractmethod
    def stages(self) -> Sequence[Stage]:
        """All of its stages, each after those of them that it needs; graphs and captures of the run are not its own."""

    @property
    @abstractmethod
    def targets(self) -> Sequence[Target]:
        """Those of them that a run is for."""

    def check(self) -> None:  # noqa: B027 - most studies ask nothing more of the samples
        """Looks at the samples, which are read, before anything is trained. Raises `UserError` where they do not do."""

    @abstractmethod
    def tables(self, store: Store, common: Callable[[Point], dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        """Its tables by name (`report/tables/schema.py`); all targets are in the store. common: the columns that tell
        where a point is, as in all tables of layers.
        """
