"""Labels that no longer belong to their images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.data.alterations import draws
from rra_cli.data.alterations.alteration import LabelAlteration, Seen


@dataclass(frozen=True)
class ShuffleLabels(LabelAlteration):
    """Some of the labels are exchanged among their samples: class sizes and images stay as they are.

    level: their fraction, from 0 to 1; those of a smaller one are among those of a larger one. About one in so many as
    there are classes gets the label that it had. seed: which, and to whom.
    """

    name: ClassVar[str] = "shuffle_labels"

    level: float = identity(1.0)
    seed: int = identity(0)

    def __post_init__(self) -> None:
        draws.check_level(self.level, 1.0, "a fraction of the labels, from 0 to 1")
        draws.check_seed(self.seed)

    @property
    def strength(self) -> float:
        """The level."""
        return self.level

    @property
    def is_none(self) -> bool:
        """At level 0."""
        return self.level == 0

    def relabel(self, labels: NDArray[np.int64], seen: Seen) -> NDArray[np.int64]:
        """Labels `(n,)` of which round(level · n) changed places."""
        chosen = np.argsort(draws.uniform(seen, self.seed, draws.CHOICE), kind="stable")[
            : round(self.level * len(labels))
        ]
        found = labels.copy()
        found[chosen] = labels[chosen[draws.order(seen, self.seed, draws.SHUFFLE, len(chosen))]]
        return found
