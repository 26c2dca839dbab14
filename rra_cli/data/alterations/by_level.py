"""Alterations of one strength, their level, and one seed."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar

from rra_cli.core.fields import identity
from rra_cli.data.alterations import draws
from rra_cli.data.alterations.alteration import Alteration


@dataclass(frozen=True)
class ByLevel(Alteration, ABC):
    """level: how strong it is, 0 for nothing. seed: of what is drawn; the same at all levels.

    highest, meaning: of the level, for whoever gives one that cannot be.
    """

    highest: ClassVar[float] = 1.0
    meaning: ClassVar[str]

    level: float = identity(0.5)
    seed: int = identity(0)

    def __post_init__(self) -> None:
        draws.check_level(self.level, self.highest, self.meaning)
        draws.check_seed(self.seed)

    @property
    def strength(self) -> float:
        """The level."""
        return self.level

    @property
    def is_none(self) -> bool:
        """At level 0."""
        return self.level == 0
