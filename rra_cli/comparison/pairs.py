"""Statistics over pairs of models, whose independent units are the seeds and not the pairs.

Models of one seed began from the same weights and saw the data in the same order (or are one network), so they are
nearer to each other than two models of a group, which never share a seed. Between groups such pairs are kept apart:
else a mean over n² pairs, n of which are of one seed, would depend on n, and could not be held against those within.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rra_cli.comparison.statistics import LEVEL, NO_SCATTER, CellSummary, Stratum, jackknife, within_rounding

Floats = NDArray[np.float64]
Unit = tuple[int, int | None]  # of a group and a seed
LEAST = 3  # seeds of a group that an interval needs: of two, leaving out one leaves no pair
TOO_FEW = "no interval: it needs three seeds of each group"


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

    @property
    def equal(self) -> NDArray[np.bool_]:
        """Which pairs `(models of a, models of b)` of two groups are of one seed; none of runs without seeds."""
        known = np.array([[a == b is not None for b in self.seeds_b] for a in self.seeds_a], bool)
        return known & (not self.within)

    def apart(self) -> PairSet:
        """Without the pairs of one seed; with them where there are no others (one run a group)."""
        return self if self.of_one_seed else self._only(~self.equal)

    def together(self) -> PairSet:
        """The pairs of one seed alone."""
        return self._only(self.equal)

    @property
    def of_one_seed(self) -> bool:
        """Whether there are no others."""
        return bool(self.equal.all())

    def _only(self, chosen: NDArray[np.bool_]) -> PairSet:
        shape = (*chosen.shape, *[1] * (self.values.ndim - 2))
        return replace(self, values=np.where(chosen.reshape(shape), self.values, np.nan))

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
    from the same weights, so they are not independent; a mean over pairs of different seeds is then a U-statistic of
    the seeds also between two groups. Otherwise every model is a unit of its group; but of two groups that share some
    of their seeds, a seed is left out of both. Of fewer than `LEAST` models of a group there is no interval, nor
    where a difference does not scatter beyond rounding (`difference`).
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
    elif minus is None and pairs.equal.any():
        known = dict.fromkeys((*pairs.seeds_a, *pairs.seeds_b))
        strata = [[[(group, seed) for group in groups if seed in groups[group]] for seed in known]]
    else:
        strata = [[[(group, seed)] for seed in own] for group, own in groups.items()]
    found = [
        Stratum(np.stack([estimate(frozenset(unit)) for unit in units]), np.stack([present(unit) for unit in units]))
        for units in strata
    ]
    summary = jackknife(estimate(frozenset()), found, level)
    enough = np.all([each.units(group) >= LEAST for each in sets for group in each.groups], axis=0)
    flat = np.zeros_like(enough) if minus is None else enough & _flat(found, sets)
    low, high, p = (np.where(enough & ~flat, each, np.nan) for each in (summary.low, summary.high, summary.p))
    why = np.where(np.isfinite(summary.value), np.where(flat, NO_SCATTER, np.where(enough, "", TOO_FEW)), "")
    return CellSummary(summary.value, low, high, p, why), together and len(groups) > 1


def _flat(strata: Sequence[Stratum], sets: Sequence[PairSet]) -> NDArray[np.bool_]:
    """Cells whose difference no unit changes by more than rounding."""
    largest = np.max([np.nan_to_num(np.abs(each.values)).max(axis=(0, 1)) for each in sets], axis=0)
    found = []
    for stratum in strata:
        high = np.where(stratum.present, stratum.left_out, -np.inf).max(axis=0)
        low = np.where(stratum.present, stratum.left_out, np.inf).min(axis=0)
        found.append(within_rounding(high - low, largest, len(stratum.left_out)))
    return np.asarray(np.all(found, axis=0))
