"""Numbers of neighbours for a study of sample sizes: the exponential grids of the RRA thesis, ch. 5, and one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

# A whole number is a number of neighbours at every size; a fraction is a neighbour density k / N (NDR, eq. 5.1).
Step = int | float

# CIFAR-10: k = N / 10^(x/3), x = 0..6. ImageNet64x64-50: k = N / 50^(x/2), x = 0..4, with k = 2 instead of the
# smallest, which would be less than one neighbour for most N.
GRIDS: Mapping[str, tuple[Step, ...]] = MappingProxyType(
    {
        "thesis_cifar10": tuple(10.0 ** (-x / 3) for x in range(7)),
        "thesis_imagenet50": (*(50.0 ** (-x / 2) for x in range(4)), 2),
    }
)


@dataclass(frozen=True)
class Setting:
    """One cell of the study: N samples with k neighbours each.

    step: what k follows from, the same at all sizes: k itself, or a density. by_definition: k = N - 1, every other
    sample is a neighbour: NNCS is then the chance level and NNLS 1 whatever the layer, so no graph is needed.
    """

    n_samples: int
    k: int
    step: Step

    @property
    def by_definition(self) -> bool:
        """Whether every other sample is a neighbour."""
        return self.k == self.n_samples - 1

    @property
    def density(self) -> float:
        """NDR as it is, k / N: rounding moves it a little from the one that was asked for."""
        return self.k / self.n_samples


def neighbors_at(step: Step, n: int) -> int | None:
    """The k of a step at n samples, rounded; None where there are not so many others.

    A density of 1 means k = n - 1, since a sample is no neighbour of its own; a smaller one at least one neighbour.
    """
    if isinstance(step, float):
        return min(n - 1, max(1, round(step * n)))
    return n - 1 if step == n else step if step < n else None


def settings_at(steps: Sequence[Step], n: int) -> list[Setting]:
    """The cells of n samples, ascending in k: every step that exists there, also where two of them give one k."""
    found = {(type(step), step): neighbors_at(step, n) for step in steps}  # by type: 1 is a k, 1.0 a density
    cells = [Setting(n, k, step) for (_, step), k in found.items() if k is not None]
    return sorted(cells, key=lambda cell: (cell.k, isinstance(cell.step, float), cell.step))


def check_step(step: Step) -> None:
    """Raises ValueError for what is neither a number of neighbours nor a density."""
    if isinstance(step, float) and not 0.0 < step <= 1.0:
        raise ValueError(f"{step} is no density of neighbours: a fraction must lie in (0, 1], and k is a whole number")
    if isinstance(step, int) and step < 1:
        raise ValueError(f"{step} is no number of neighbours: at least 1 is needed, or a density such as 0.1")
