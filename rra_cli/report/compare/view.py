"""What plots and report of a comparison are made of: its tables, and what its groups and metrics are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rra_cli.report.glossary import Term

if TYPE_CHECKING:
    import pandas as pd

Band = Literal["interval", "sd"]
_SPLITS = ("train", "test")
JACKKNIFE = "leaving out one seed at a time"  # how intervals over pairs of models are made


@dataclass(frozen=True)
class Line:
    """A metric of one group along its layers or over epochs; arrays of one length, NaN for no value."""

    group: str
    names: tuple[str, ...]
    position: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    chance: NDArray[np.float64]


@dataclass(frozen=True)
class Swept:
    """The only setting in which groups differ, a number: its value by group."""

    setting: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class View:
    """A comparison. groups: labels in order. mains: by group the checkpoint that stands for it. frames: the tables by
    name. terms: by metric. band: what is shaded. level: of the intervals. asked: columns whose correlation was asked
    for. altered: whether the samples of a run were altered (`alter`), as those of its accuracy never are. same: pairs
    of groups that measured one network, and what differs then; by_seed: of those that share several, one a seed. swept:
    the number that alone tells groups apart. reference: the group that accuracies of the others are held against."""

    title: str
    groups: tuple[str, ...]
    mains: Mapping[str, str]
    frames: Mapping[str, pd.DataFrame]
    terms: Mapping[str, Term] = field(default_factory=dict)
    band: Band = "interval"
    level: float = 0.95
    asked: Sequence[tuple[str, str]] = ()
    altered: bool = False
    same: Mapping[tuple[str, str], str] = field(default_factory=dict)
    by_seed: Mapping[tuple[str, str], str] = field(default_factory=dict)
    swept: Swept | None = None
    reference: str = ""

    def term(self, metric: str) -> Term:
        """What a metric is called."""
        return self.terms[metric] if metric in self.terms else Term(metric, short=metric)

    @property
    def repeated(self) -> bool:
        """Whether any mean is over more than one run."""
        return any(bool((self.frames[name]["n"].dropna() > 1).any()) for name in ("layers", "training", "pullback"))

    @property
    def one_network(self) -> str:
        """What differs where all groups measured one network; "" where they are different models."""
        pairs = [(a, b) for at, a in enumerate(self.groups) for b in self.groups[:at]]
        told = {self.same.get(pair, "") for pair in pairs}
        return min(told, key=len) if told else ""

    @property
    def band_text(self) -> str:
        """What the shaded bands are."""
        if not self.repeated:
            return "One run a group: there are no bands."
        if self.band == "sd":
            return "Bands: ± one standard deviation over the seeds."
        return f"Bands: {self.level:.0%} interval of the mean (Student's t, the seeds as the units)."

    def bands_of(self, rows: pd.DataFrame, how: str = "") -> str:
        """What the bands of these rows are, where they have any; how: of pairs of models, how their interval is made
        (it needs three seeds).
        """
        if rows["sd" if self.band == "sd" else "low"].notna().any():
            if not how:
                return self.band_text
            if self.band == "sd":
                return "Bands: ± one standard deviation over the pairs of models."
            return f"Bands: {self.level:.0%} interval with the seeds as the units, {how}."
        if not self.repeated:
            return "One run a group: there are no bands."
        return "There are no bands: intervals over pairs of models need three seeds." if how else "There are no bands."

    @property
    def few_seeds(self) -> str:
        """What must be known of intervals over two seeds; "" where no group has just two."""
        frames = (self.frames[name] for name in ("layers", "training", "pullback"))
        if not any(bool((frame["n"].dropna() == 2).any()) for frame in frames):
            return ""
        reach = np.tan(0.5 * np.pi * self.level)  # Student's t with one degree of freedom
        return (
            f"Two seeds: {self.level:.0%} intervals reach {reach:.1f} standard errors to either side, so "
            "that bands may leave their plots; --band sd draws standard deviations instead, and more seeds help."
        )

    def splits(self, frame: pd.DataFrame) -> list[str]:
        """The splits in a table, train first."""
        found = {str(split) for split in frame["split"].unique()} - {""}
        return sorted(found, key=lambda split: (_SPLITS.index(split) if split in _SPLITS else len(_SPLITS), split))

    def main_rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of every group at the checkpoint that stands for it."""
        return frame[frame["checkpoint"] == frame["group"].map(dict(self.mains))]

    def layers(self, metric: str, split: str, pool: str, scale: int, transfer: str = "") -> list[Line]:
        """The metric along the layers at the main checkpoints, a line for each group that has it."""
        rows = self.metric_rows(metric, split, pool, scale, transfer)
        return self._lines(self.main_rows(rows), "index", "layer")

    def epochs(self, metric: str, split: str, pool: str, scale: int, depth: float) -> list[Line]:
        """The metric over the trained checkpoints, at the layer nearest to a relative depth of each group."""
        rows = self.metric_rows(metric, split, pool, scale)
        rows = rows[rows["epoch"].notna() & (rows["checkpoint"] != "best")]
        found = []
        for _, own in rows.groupby("group", sort=False):
            index = round(depth * int(own["index"].max()))
            found.append(own[own["index"] == min(own["index"].unique(), key=lambda at: (abs(at - index), at))])
        import pandas as pd

        return self._lines(pd.concat(found), "epoch", "layer") if found else []

    def metric_rows(self, metric: str, split: str, pool: str, scale: int, transfer: str = "") -> pd.DataFrame:
        """The rows of layers.csv of one metric; of smaller subsets and other sizes only the measured set."""
        rows = self.frames["layers"]
        rows = rows[(rows["metric"] == metric) & (rows["split"] == split) & (rows["transfer"] == transfer)]
        rows = rows[(rows["pool"] == pool) & (rows["scale"] == scale) & (rows["subset"] == 0)]
        return rows[rows["n_samples"] == rows.groupby("group")["n_samples"].transform("max")]

    def _lines(self, rows: pd.DataFrame, position: str, name: str) -> list[Line]:
        found = []
        for group in self.groups:
            own = rows[rows["group"] == group].sort_values(position, kind="stable").drop_duplicates(position)
            if own["mean"].notna().any():
                found.append(self.line(group, own, position, name))
        return found

    def line(self, group: str, rows: pd.DataFrame, position: str, name: str, value: str = "mean") -> Line:
        """A line of these rows; its band is the interval, or the standard deviation where that was asked for."""
        mean = rows[value].to_numpy(float)
        if self.band == "sd" and "sd" in rows:
            low, high = mean - rows["sd"].to_numpy(float), mean + rows["sd"].to_numpy(float)
        else:
            low, high = rows["low"].to_numpy(float), rows["high"].to_numpy(float)
        chance = rows["chance"].to_numpy(float) if "chance" in rows else np.full(len(rows), np.nan)
        names = tuple(str(each) for each in rows[name])
        return Line(group, names, rows[position].to_numpy(float), mean, low, high, chance)

    def places(self, frame: pd.DataFrame) -> list[tuple[Any, ...]]:
        """Pooling and scale of the rows, unpooled first."""
        pairs = frame[["pool", "scale"]].drop_duplicates().itertuples(index=False)
        found = {(str(pool), int(scale)) for pool, scale in pairs}
        return sorted(found, key=lambda each: (each[0] != "none", each[0], each[1] == 0, each[1]))
