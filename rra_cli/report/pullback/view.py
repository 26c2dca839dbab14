"""The tables of the pullback metrics as their plots read them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rra_cli.report.run import Run
from rra_cli.report.series import Checkpoint
from rra_cli.report.style import COLOURS, counted

if TYPE_CHECKING:
    import pandas as pd

# A sheet shows no more checkpoints than this: the first, the last, and some between.
MOST_ROWS = 5
_OTHER = "0.8"  # of classes beyond the colours that there are


@dataclass(frozen=True)
class Anchor:
    """A sample that the drawn line or plane goes through. picture: `(height, width, 1 or 3)` uint8, or None."""

    letter: str
    label: str
    x: float
    y: float
    picture: NDArray[np.uint8] | None


@dataclass(frozen=True)
class View:
    """One pullback metric of a run."""

    run: Run
    metric: str

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Its rows of pullback.csv."""
        frame = self.run.tables.pullback
        assert frame is not None, "a view is made of a run with pullback metrics"
        return frame[frame["metric"] == self.metric]

    @cached_property
    def points(self) -> pd.DataFrame:
        """Its rows of pullback_points.csv."""
        frame = self.run.tables.pullback_points
        assert frame is not None, "a run with pullback metrics has their points"
        return frame[frame["metric"] == self.metric]

    @property
    def at(self) -> str:
        """line, plane, grid or points."""
        return str(self.summary["at"].iloc[0])

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """In the network's order."""
        return tuple(self.summary.drop_duplicates("layer").sort_values("index", kind="stable")["layer"])

    @cached_property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Those of the run."""
        known = set(self.summary["checkpoint"])
        return tuple(checkpoint for checkpoint in self.run.checkpoints if checkpoint.label in known)

    @property
    def shown(self) -> tuple[Checkpoint, ...]:
        """As many as a sheet holds, the first and the last among them."""
        found = self.checkpoints
        if len(found) <= MOST_ROWS:
            return found
        places = np.unique(np.linspace(0, len(found) - 1, MOST_ROWS).round().astype(int))
        return tuple(found[place] for place in places)

    def drawn(self, checkpoint: Checkpoint, layer: str) -> pd.DataFrame:
        """The points of the first unit, in their order."""
        frame = self.all_points(checkpoint, layer)
        return frame[frame["unit"] == 0].sort_values("point", kind="stable")

    def all_points(self, checkpoint: Checkpoint, layer: str) -> pd.DataFrame:
        """The points of all units."""
        frame = self.points
        return frame[(frame["checkpoint"] == checkpoint.label) & (frame["layer"] == layer)]

    def row(self, checkpoint: Checkpoint, layer: str) -> pd.Series[float]:
        """The row of pullback.csv."""
        frame = self.summary
        return frame[(frame["checkpoint"] == checkpoint.label) & (frame["layer"] == layer)].iloc[0]

    def over(self, layer: str = "") -> str:
        """Over how many directions volumes are in what is shown: `10 directions`, `62 to 64 directions`."""
        rows = self._shown_rows
        found = rows.loc[(rows["layer"] == layer) | (layer == ""), "directions"]
        return counted(map(int, found), "direction")

    @property
    def remarks(self) -> str:
        """What a caption must say of directions and of points without a volume; "" where all is plain."""
        rows, told = self._shown_rows, []
        several = [layer for layer in self.layers if rows.loc[rows["layer"] == layer, "directions"].unique().size > 1]
        if several:
            told.append(
                f"In {', '.join(several)} checkpoints differ in the number of directions: compare volumes within a "
                "checkpoint only."
            )
        decided = [layer for layer in self.layers if _by_rounding(rows.loc[rows["layer"] == layer, "reason"])]
        if decided:
            told.append(
                f"In {', '.join(decided)} the rounding error decides the number of directions (reason in pullback.csv)."
            )
        points = self.points[self.points["checkpoint"].isin(rows["checkpoint"])]
        missing = int(points["log10_volume"].isna().sum())
        if missing:
            told.append(
                f"{missing:,} of {len(points):,} points have fewer directions and no volume: lines stop and "
                "maps are blank there."
            )
        return " ".join(told)

    @cached_property
    def _shown_rows(self) -> pd.DataFrame:
        return self.summary[self.summary["checkpoint"].isin([checkpoint.label for checkpoint in self.shown])]

    @property
    def has_curvature(self) -> bool:
        """Whether curvatures were asked for."""
        return bool(self.points["curvature"].notna().any())

    @cached_property
    def colours(self) -> dict[str, str]:
        """A colour for every class that is predicted somewhere in the pictures, the anchors' classes first."""
        frame = self.points[self.points["unit"] == 0]
        often = [str(name) for name in frame["prediction"].value_counts().index]
        order = dict.fromkeys([*(anchor.label for anchor in self.anchors), *often])
        return {name: COLOURS[at] if at < len(COLOURS) else _OTHER for at, name in enumerate(order)}

    @cached_property
    def anchors(self) -> tuple[Anchor, ...]:
        """Of the first unit; none of a grid and of samples."""
        frame = self.run.tables.pullback_anchors
        if frame is None:
            return ()
        frame = frame[(frame["metric"] == self.metric) & (frame["unit"] == 0)].sort_values("anchor")
        return tuple(
            Anchor(
                str(row.anchor),
                str(row["class"]),
                float(row.x),
                float(row.y),
                picture(str(row.pixels), int(row.channels), int(row.height), int(row.width)) if row.pixels else None,
            )
            for _, row in frame.iterrows()
        )


def _by_rounding(reasons: pd.Series[str]) -> bool:
    return bool(reasons.fillna("").astype(str).str.contains("rounding error").any())


def picture(pixels: str, channels: int, height: int, width: int) -> NDArray[np.uint8]:
    """`(height, width, 1 or 3)` of hexadecimal digits, channel by channel; grey where they are anything else."""
    try:
        values = np.frombuffer(bytes.fromhex(pixels), np.uint8).reshape(channels, height, width)
    except ValueError:
        return np.full((1, 1, 1), 128, np.uint8)
    return np.moveaxis(values if channels == 3 else values[:1], 0, 2)


def as_grid(frame: pd.DataFrame, column: str) -> tuple[NDArray[np.float64], tuple[float, float, float, float]]:
    """A column of a plane's or grid's points as an image `(n, n)`, first row at the bottom, and its edges."""
    x, y = frame["x"].to_numpy(float), frame["y"].to_numpy(float)
    columns, rows = np.unique(x), np.unique(y)
    image = np.full((len(rows), len(columns)), np.nan)
    image[np.searchsorted(rows, y), np.searchsorted(columns, x)] = frame[column].to_numpy(float)
    half = [(side[1] - side[0]) / 2 if len(side) > 1 else 0.5 for side in (columns, rows)]
    return image, (columns[0] - half[0], columns[-1] + half[0], rows[0] - half[1], rows[-1] + half[1])
