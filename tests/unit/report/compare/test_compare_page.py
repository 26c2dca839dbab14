"""What the page of a comparison links and says: only tables that are written, bands that exist, and two seeds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from rra_cli.report.compare.curves import training_figure
from rra_cli.report.compare.page import comparison_html
from rra_cli.report.compare.plots import comparison_plots
from rra_cli.report.compare.rendering import write_comparison
from rra_cli.report.compare.tables import TABLES, frame_of
from rra_cli.report.compare.view import Swept, View
from rra_cli.report.style import styled

Row = dict[str, Any]
NAN = float("nan")
PLACE = {"checkpoint": "last", "epoch": 3, "split": "test", "pool": "none", "scale": 1, "n_samples": 100, "k": 5}


def view(labels: Sequence[str] = ("a",), **tables: Any) -> View:
    frames = {name: frame_of(tables.get(name, []), name) for name in TABLES}
    return View("Comparison", tuple(labels), dict.fromkeys(labels, "last"), frames)


def layer(n: int, group: str = "a", **changes: Any) -> Row:
    summary = {"mean": 0.5, "sd": 0.1 if n > 1 else NAN, "n": n, "low": NAN, "high": NAN}
    return {**PLACE, "group": group, "metric": "nncs", "layer": "out", "index": 0, "subset": 0, **summary, **changes}


def volumes(group: str = "a") -> list[Row]:
    common = {"group": group, "metric": "way", "at": "line", "inputs": 1, "checkpoint": "last", "epoch": 3}
    common |= {"layer": "out", "index": 0, "directions": 10, "mean": 0.5, "n": 1, "n_units": 4}
    return [{**common, "quantity": quantity} for quantity in ("log_volume", "difference", "ratio", "gain")]


def diagonal(kind: str, *groups: str, **changes: Any) -> Row:
    named = {"kind": kind, "group_a": groups[0], "group_b": groups[-1], "layer": "out", "index": 0, "depth": 1.0}
    return {**PLACE, **named, "mean": 0.5, "sd": NAN, "low": NAN, "high": NAN, "n_pairs": 2, **changes}


def linked(folder: Path) -> set[str]:
    return set(re.findall(r'href="(tables/[^"]+)"', (folder / "report.html").read_text()))


def test_only_tables_that_are_written_are_linked(tmp_path: Path) -> None:
    """Of one group: no differences of volumes, accuracies, or pairs of models."""
    accuracy = {"group": "a", "metric": "test_accuracy", "epoch": 3, "mean": 0.9, "n": 1}
    pair = {**diagonal("within", "a"), "metric": "overlap"}
    alone = view(pullback=volumes(), accuracies=[accuracy], pairs_diagonal=[pair], layers=[layer(1)])
    write_comparison(alone, tmp_path / "one")
    found = linked(tmp_path / "one")
    assert {"tables/pullback.csv", "tables/accuracies.csv", "tables/pairs_diagonal.csv"} <= found
    assert all((tmp_path / "one" / name).is_file() for name in found)
    assert "tables/pullback_differences.csv" not in found
    difference = {"group_a": "a", "group_b": "b", "metric": "way", "checkpoint": "last", "layer": "out"}
    two = view(("a", "b"), pullback=[*volumes(), *volumes("b")], pullback_differences=[difference])
    write_comparison(two, tmp_path / "two")
    assert "tables/pullback_differences.csv" in linked(tmp_path / "two"), "the control"


@pytest.mark.parametrize(("settings", "told"), [(1, "The setting that differs"), (2, "All 2 settings that differ")])
def test_settings_that_differ_are_counted(settings: int, told: str) -> None:
    rows = [{"group": "a", "n": 1, "setting": f"s{at}", "value": "1"} for at in range(settings)]
    assert f"<summary>{told}</summary>" in comparison_html(view(groups=rows), [], [])


def test_the_reach_of_two_seeds_is_told_and_that_of_three_is_not() -> None:
    """Student's t with one degree of freedom is a Cauchy distribution: its quantiles are tangents."""
    two = view(layers=[layer(2)])
    assert two.few_seeds.startswith("Two seeds: 95% intervals reach 12.7 standard errors")
    assert "--band sd" in comparison_html(two, [], [])
    assert "reach 6.3 standard" in replace(two, level=0.9).few_seeds
    assert view(layers=[layer(3)]).few_seeds == ""
    assert "Two seeds" not in comparison_html(view(layers=[layer(3)]), [], [])


def captions(shown: View) -> dict[str, str]:
    return {plot.name: plot.caption for plot in comparison_plots(shown)}


def test_bands_are_promised_only_where_there_are_any() -> None:
    """Of two seeds a mean has an interval, a mean over their pairs has none."""
    groups = ("x=1", "x=2")
    layers = [layer(2, group, low=0.4, high=0.6) for group in groups]
    pairs = [diagonal("within", group) for group in groups]
    swept = Swept("x", {"x=1": 1.0, "x=2": 2.0})
    two = replace(view(groups, layers=layers, nnls_diagonal=pairs), swept=swept)
    found = captions(two)
    assert "Bands: 95% interval of the mean" in found["nncs_layers"]
    for name in ("nnls_diagonal_last_test", "nnls_diagonal_by_x"):
        assert "Bands:" not in found[name]
        assert "There are no bands: intervals over pairs of models need three seeds." in found[name]
    three = [{**row, "sd": 0.1, "low": 0.4, "high": 0.6} for row in pairs]
    found = captions(replace(view(groups, layers=layers, nnls_diagonal=three), swept=swept))
    for name in ("nnls_diagonal_last_test", "nnls_diagonal_by_x"):
        assert "leaving out one seed at a time" in found[name], "the control"
    by_deviation = replace(view(groups, layers=layers, nnls_diagonal=three), swept=swept, band="sd")
    assert "standard deviation" in captions(by_deviation)["nnls_diagonal_by_x"]


def test_maps_of_networks_that_groups_share_say_so() -> None:
    cell = {**PLACE, "kind": "between", "group_a": "a", "group_b": "b", "layer_a": "x", "index_a": 0, "layer_b": "x"}
    different = view(("a", "b"), nnls=[{**cell, "index_b": 0, "mean": 0.5, "n_pairs": 4}])
    told = "the same networks on differently altered data, each seed with the others"
    (title,) = (plot.title for plot in comparison_plots(replace(different, by_seed={("a", "b"): told})))
    assert title.startswith("The same networks on differently altered data")
    (title,) = (plot.title for plot in comparison_plots(different))
    assert title.startswith("Layers of different models"), "the control"


def test_bands_of_a_training_end_where_its_figures_do() -> None:
    rows = [
        {"group": "a", "metric": metric, "epoch": epoch, "mean": mean, "n": 2, "low": mean - 9, "high": mean + 9}
        for metric, mean in (("train_loss", 0.7), ("test_accuracy", 0.9))
        for epoch in range(3)
    ]
    with styled():
        figure = training_figure(view(training=rows))
    assert isinstance(figure, Figure)
    drawn = [axes.collections[0].get_paths()[0].vertices[:, 1] for axes in figure.axes]
    assert [(float(at.min()), float(at.max())) for at in drawn] == [(0.0, 9.7), (0.0, 1.0)]
    assert figure.axes[0].get_ylim()[0] == 0.0
    assert figure.axes[0].get_ylim()[1] < 2.0, "a loss has no upper bound, but its means are to be seen"
    cosine = [{**row, "mean": -0.5} for row in rows if row["metric"] == "train_loss"]
    with styled():
        figure = training_figure(view(training=cosine))
    assert isinstance(figure, Figure)
    low, high = figure.axes[0].get_ylim()
    assert low < -0.5 < high
    assert np.isfinite([low, high]).all()
