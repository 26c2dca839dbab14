"""The plot of spectra: it shows what the table says, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from rra_cli.report.details.spectra import spectrum_figure
from rra_cli.report.load import load_run
from rra_cli.report.plots import plots
from rra_cli.report.tables.writing import write_table

MakeRun = Callable[..., Path]
LAYERS = list("abc")
RANKS = np.array([1, 2, 3, 10])


def eigenvalues(layer: str) -> np.ndarray:
    """A power law that falls faster in later layers; the last value of the last layer has collapsed."""
    values = 4.0 / RANKS ** (1.0 + LAYERS.index(layer))
    return values * [1, 1, 1, 0] if layer == "c" else values


@pytest.fixture
def run(make_run: MakeRun) -> Path:
    folder = make_run(layers=LAYERS, stages=None, splits=["test"])
    common = {"checkpoint": "last", "epoch": 100, "split": "test", "pool": "none", "scale": 1, "subset": 0}
    rows = [
        {**common, "layer": layer, "index": at, "n_samples": 10000, "metric": "rank", "rank": rank, "eigenvalue": value}
        for at, layer in enumerate(LAYERS)
        for rank, value in zip(RANKS, eigenvalues(layer), strict=True)
    ]
    write_table(rows, folder / "tables", "spectra")
    return folder


def lines(figure: Figure) -> list[np.ndarray]:
    return [line.get_xydata() for line in figure.axes[0].get_lines() if line.get_gid() == "series"]


def test_lines_are_shares_of_the_largest_by_rank(run: Path) -> None:
    loaded = load_run(run)
    figure = spectrum_figure(loaded, "rank", loaded.main_checkpoint, "test", loaded.variants[0])
    assert figure is not None
    drawn = lines(figure)
    for layer, line in zip("ab", drawn, strict=False):
        np.testing.assert_allclose(line, np.stack([RANKS, eigenvalues(layer) / 4.0], axis=1))
    assert len(drawn[2]) == 3, "a value of 0 has no place on a logarithmic axis"


def test_there_is_one_where_the_table_is(run: Path) -> None:
    assert "rank_spectrum_test" in [plot.name for plot in plots(load_run(run))]


def test_without_the_table_there_is_none(make_run: MakeRun) -> None:
    without = load_run(make_run(layers=LAYERS, stages=None, splits=["test"]))
    assert not [plot for plot in plots(without) if "spectrum" in plot.name]
    assert spectrum_figure(without, "rank", without.main_checkpoint, "test", without.variants[0]) is None
