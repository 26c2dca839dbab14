"""Curves from layer to layer and over scales, and occurrences: what is drawn is what the tables say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from rra_cli.report.details.dimension_scales import axes_of, dimension_scale_figure
from rra_cli.report.details.occurrences import occurrence_figure
from rra_cli.report.load import load_run
from rra_cli.report.pair_curves import pair_curve, relations
from rra_cli.report.tables.writing import write_table

MakeRun = Callable[..., Path]


def test_relations_by_hand() -> None:
    """Row a, column b is from a to b; the first layer has none before it, the last none after it."""
    matrix = np.array([[0.0, 1.0, 2.0], [10.0, 11.0, 12.0], [20.0, 21.0, 22.0]])
    found = relations(matrix, directed=True)
    np.testing.assert_array_equal(found["from the layer before"], [np.nan, 1.0, 12.0])
    np.testing.assert_array_equal(found["to the layer before"], [np.nan, 10.0, 21.0])
    np.testing.assert_array_equal(found["to the last layer"], [2.0, 12.0, np.nan])
    np.testing.assert_array_equal(found["from the last layer"], [20.0, 21.0, np.nan])
    assert list(relations(matrix, directed=False)) == ["layer before", "last layer"]


def test_nnls_along_the_layers_is_the_table(make_run: MakeRun) -> None:
    run = load_run(make_run(layers=list("abcde"), stages=None, splits=["test"], empty=[2]))
    figure = pair_curve(run, "nnls", run.main_checkpoint, run.variants[0])
    assert figure is not None
    before, last = (line.get_ydata() for line in figure.axes[0].lines if line.get_gid() == "series")
    one = 0.75 * np.exp(-0.28)
    np.testing.assert_allclose(before, [np.nan, one, np.nan, np.nan, one])
    np.testing.assert_allclose(last, [*(0.75 * np.exp(-0.28 * np.array([4.0, 3.0]))), np.nan, one, np.nan])
    assert pair_curve(run, "cka", run.main_checkpoint, run.variants[0]) is None
    short = load_run(make_run("short", layers=list("ab"), stages=None, splits=["test"]))
    assert pair_curve(short, "nnls", short.main_checkpoint, short.variants[0]) is None


def test_scale_curves_and_occurrences_are_the_table(make_run: MakeRun) -> None:
    folder = make_run(layers=list("ab"), stages=None, splits=["test"])
    common = {"checkpoint": "last", "epoch": 100, "split": "test", "pool": "none", "scale": 1, "subset": 0}
    common |= {"n_samples": 10_000, "k": 100, "engine": "exact", "recall": 1.0}
    scales, counts = [], []
    for at, layer in enumerate("ab"):
        here = {**common, "layer": layer, "index": at}
        for level in range(3):
            row = {"block_samples": 10_000 >> level, "neighbor_rank": 2, "blocks": 2**level, "radius": 1.0 + level}
            number = {"value": 9.0 - level + at, "sd": 0.5 if level else None, "std_error": 0.1}
            scales.append({**here, "metric": "id_decimation", **row, **number})
        counts += [{**here, "metric": "hubness", "at_least": m, "share": 1.0 / (m + 1)} for m in range(5)]
    write_table(scales, folder / "tables", "dimension_scales")
    write_table(counts, folder / "tables", "occurrences")
    run = load_run(folder)
    view = (run.main_checkpoint, "test", run.variants[0])
    assert run.tables.dimension_scales is not None
    assert axes_of(run.tables.dimension_scales) == ("samples", "radius")
    figure = dimension_scale_figure(run, "id_decimation", "samples", *view)
    assert figure is not None
    lines = [line for line in figure.axes[0].lines if line.get_gid() == "series"]
    np.testing.assert_array_equal(lines[0].get_xydata(), [[2500, 7.0], [5000, 8.0], [10000, 9.0]])
    np.testing.assert_array_equal(lines[1].get_ydata(), [8.0, 9.0, 10.0])
    assert [text.get_text() for text in figure.axes[0].texts], "balls are named"
    figure = occurrence_figure(run, "hubness", *view)
    assert figure is not None
    (first, *_) = (line for line in figure.axes[0].lines if line.get_gid() == "series")
    np.testing.assert_allclose(first.get_xydata(), [[m, 1.0 / (m + 1)] for m in range(1, 5)])
