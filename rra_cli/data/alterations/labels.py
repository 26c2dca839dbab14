"""Labels that no longer belong to their images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.data.alterations import draws
from rra_cli.data.alterations.alteration import LabelAlteration, Seen
from rra_cli.data.alterations.by_level import ByLevel


@dataclass(frozen=True)
class ShuffleLabels(ByLevel, LabelAlteration):
    """Some of the labels are exchanged among their samples: class sizes and images stay as they are.

    level: their fraction, from 0 to 1; those of a smaller one are among those of a larger one. About one in so many as
    there are classes gets the label that it had. seed: which, and to whom.
    """

    name: ClassVar[str] = "shuffle_labels"
    meaning: ClassVar[str] = "a fraction of the labels, from 0 to 1"

    level: float = identity(1.0)

    def relabel(self, labels: NDArray[np.int64], seen: Seen) -> NDArray[np.int64]:
        """Labels `(n,)` of which round(level · n) changed places."""
        chosen = np.argsort(draws.uniform(seen, self.seed, draws.CHOICE), kind="stable")[
            : round(self.level * len(labels))
        ]
        found = labels.copy()
        found[chosen] = labels[chosen[draws.order(seen, self.seed, draws.SHUFFLE, len(chosen))]]
        return found
