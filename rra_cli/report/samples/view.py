"""What the plots of a sample study share: the rows of one place, legends and axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rra_cli.report.layer_axis import plain
from rra_cli.report.run import Run
from rra_cli.report.series import Checkpoint, Variant
from rra_cli.report.style import legend_line, shade, shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

DOTTED: dict[str, Any] = {"color": "0.45", "linewidth": 0.9, "linestyle": (0, (1, 1))}


@dataclass(frozen=True)
class Place:
    """The layers of one checkpoint, on one split, at one pooling."""

    run: Run
    checkpoint: Checkpoint
    split: str
    variant: Variant

    def rows(self, frame: pd.DataFrame | None) -> pd.DataFrame:
        """The rows of a table of a sample study that belong here; none where there is no such table."""
        import pandas as pd

        if frame is None:
            return pd.DataFrame()
        return frame[
            (frame["checkpoint"] == self.checkpoint.label)
            & (frame["split"] == self.split)
            & (frame["pool"] == self.variant.pool)
            & (frame["scale"] == self.variant.scale)
        ]

    def of_metric(self, metric: str) -> pd.DataFrame:
        """Rows of samples.csv of one metric. low, high: ends of its interval, NaN where the run has none: intervals
        are searched for all of the measured samples and the run's own k (`metrics.intervals`)."""
        frame = self.rows(self.run.tables.samples)
        if frame.empty:
            return frame
        frame = frame[frame["metric"] == metric]
        known, none = self._intervals(metric), (float("nan"), float("nan"))
        places = zip(frame["layer"], frame["n_samples"], frame["k"], strict=True)
        ends = [known.get(self._cell(metric, *place), none) for place in places]
        return frame.assign(low=[low for low, _ in ends], high=[high for _, high in ends])

    def _intervals(self, metric: str) -> dict[tuple[str, int, int], tuple[float, float]]:
        """Ends of intervals by `_cell`."""
        table = self.run.tables.metrics
        if "low" not in table:
            return {}
        frame = self.rows(table[(table["metric"] == metric) & (table["subset"] == 0) & table["low"].notna()])
        columns = [frame[column] for column in ("layer", "n_samples", "k", "low", "high")]
        return {self._cell(metric, *row[:3]): (float(row[3]), float(row[4])) for row in zip(*columns, strict=True)}

    def _cell(self, metric: str, layer: str, n_samples: int, k: int) -> tuple[str, int, int]:
        """Layer, N and k; the intrinsic dimension reads two neighbours, whatever the run's k is."""
        return str(layer), int(n_samples), 0 if self.run.term(metric).is_dimension else int(k)

    def layers(self, frame: pd.DataFrame) -> list[str]:
        """The layers that have rows, in the network's order."""
        there = set() if frame.empty else set(frame["layer"])
        return [layer for layer in self.run.layers if layer in there]


def sizes_of(frame: pd.DataFrame) -> list[int]:
    """Numbers of samples, ascending."""
    return [] if frame.empty else sorted(int(n) for n in frame["n_samples"].unique())


def entries(names: Sequence[str]) -> list[Line2D]:
    """A legend entry for every line of `shade`."""
    styles = [shade(place, len(names)) for place in range(len(names))]
    return [
        legend_line(plain(shorten(name, 16)), **style.keywords()) for name, style in zip(names, styles, strict=True)
    ]


def log_axis(axes: Axes, marks: Sequence[float]) -> None:
    """A logarithmic axis with these marks, thinned out to what fits."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("log")
    step = -(-len(marks) // 8) if marks else 1
    axes.xaxis.set_major_locator(FixedLocator(list(marks)[::-1][::step]))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}" if x >= 1000 else f"{x:.2g}" if x < 1 else f"{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(color="0.88", linewidth=0.5)
