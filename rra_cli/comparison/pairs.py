"""Statistics over pairs of models, whose independent units are the seeds and not the pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rra_cli.comparison.statistics import LEVEL, CellSummary, Stratum, jackknife

Floats = NDArray[np.float64]
Unit = tuple[int, int | None]  # of a group and a seed


@dataclass(frozen=True, eq=False)
class PairSet:
    """Values of pairs of models. values: `(models of a, models of b, ...)`, NaN where there is none.

    Within a group (group_a == group_b) both orders of two models are there, and no model with itself: the diagonal is
    NaN. seeds_a, seeds_b: of the models.
    """

    values: Floats
    group_a: int
    group_b: int
    seeds_a: tuple[int | None, ...]
    seeds_b: tuple[int | None, ...]

    @property
    def within(self) -> bool:
        """Whether it is one group with itself."""
        return self.group_a == self.group_b

    @property
    def groups(self) -> dict[int, tuple[int | None, ...]]:
        """Seeds by group."""
        return {self.group_a: self.seeds_a, self.group_b: self.seeds_b}

    def mean(self, without: frozenset[Unit] = frozenset()) -> Floats:
        """Over all pairs, or over those without some units; NaN where none is left."""
        rows = [at for at, seed in enumerate(self.seeds_a) if (self.group_a, seed) not in without]
        columns = [at for at, seed in enumerate(self.seeds_b) if (self.group_b, seed) not in without]
        kept = self.values[np.ix_(rows, columns)]
        known = np.isfinite(kept)
        count = known.sum(axis=(0, 1))
        return np.where(count > 0, np.where(known, kept, 0.0).sum(axis=(0, 1)) / np.maximum(count, 1), np.nan)

    def count(self) -> NDArray[np.int64]:
        """Pairs with a value."""
        return np.asarray(np.isfinite(self.values).sum(axis=(0, 1)), np.int64)

    def sd(self, symmetric: NDArray[np.bool_] | bool = False) -> Floats:
        """Standard deviation over the pairs (number - 1 in the denominator).

        symmetric: cells where both orders of two models are one value by definition (a layer with itself within a
        group): they are counted once. NaN for fewer than two different pairs.
        """
        deviations = np.nan_to_num(self.values - self.mean()) ** 2
        count = np.where(symmetric, self.count() / 2, self.count())
        total = deviations.sum(axis=(0, 1)) / np.where(symmetric, 2, 1)
        return np.where(count > 1, np.sqrt(total / np.maximum(count - 1, 1)), np.nan)

    def present(self, unit: Unit) -> NDArray[np.bool_]:
        """Cells in which a unit has a value."""
        rows = [at for at, seed in enumerate(self.seeds_a) if (self.group_a, seed) == unit]
        columns = [at for at, seed in enumerate(self.seeds_b) if (self.group_b, seed) == unit]
        known = np.isfinite(self.values)
        return np.asarray(known[rows].any(axis=(0, 1)) | known[:, columns].any(axis=(0, 1)))

    def units(self, group: int) -> NDArray[np.int64]:
        """How many models of a group have a value, by cell."""
        found = [self.present((group, seed)) for seed in dict.fromkeys(self.groups[group])]
        return np.asarray(np.sum(found, axis=0), np.int64)


def summarise_pairs(pairs: PairSet, minus: PairSet | None = None, level: float = LEVEL) -> tuple[CellSummary, bool]:
    """The mean over the pairs (minus that of other pairs) with its interval, and whether seeds were taken together.

    Where all groups involved have the same seeds, a seed is left out of all of them at once: models of one seed began
    from the same weights, so they are not independent. Otherwise every model is a unit of its group.
    """
    sets = [pairs] if minus is None else [pairs, minus]
    groups = {group: seeds for each in sets for group, seeds in each.groups.items()}
    seeds = list(groups.values())
    together = all(set(other) == set(seeds[0]) for other in seeds) and None not in seeds[0]

    def estimate(without: frozenset[Unit]) -> Floats:
        means = [each.mean(without) for each in sets]
        return means[0] if minus is None else means[0] - means[1]

    def present(units: Sequence[Unit]) -> NDArray[np.bool_]:
        involved = [each.present(unit) for each in sets for unit in units if unit[0] in each.groups]
        return np.asarray(np.any(involved, axis=0))

    if together:
        strata = [[[(group, seed) for group in groups] for seed in seeds[0]]]
    else:
        strata = [[[(group, seed)] for seed in own] for group, own in groups.items()]
    found = [
        Stratum(np.stack([estimate(frozenset(unit)) for unit in units]), np.stack([present(unit) for unit in units]))
        for units in strata
    ]
    return jackknife(estimate(frozenset()), found, level), together and len(groups) > 1
