"""Figures of altered copies: which there are, their lines, chance levels and the clean set, from a table made here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rra_cli.report.invariance_plots import along_figure, chosen_layers, families, invariance_plots, level_figure
from rra_cli.report.load import load_run
from rra_cli.report.run import Run
from rra_cli.report.style import styled
from rra_cli.report.tables.writing import write_table

RESNET20 = ("input", "neck", *(f"stage{s}.block{b}" for s in (1, 2, 3) for b in (1, 2, 3)), "gap", "logits")
LEVELS = (0.1, 0.5, 1.0)
ALTERATIONS = [("flip", "augment", np.nan), *((f"noise_{level:g}", "noise", level) for level in LEVELS)]


def distance(at: int, strength: float) -> float:
    """Falls along the layers, grows with the level."""
    return (1.5 if np.isnan(strength) else 1 + strength) / (1 + at)


@pytest.fixture
def run(make_run: Callable[..., Path]) -> Run:
    return made_run(make_run, RESNET20)


def made_run(make_run: Callable[..., Path], layers: tuple[str, ...]) -> Run:
    folder = make_run(layers=layers, splits=("test",), tables=("layers", "metrics"))
    rows: list[dict[str, Any]] = []
    for name, kind, strength in ALTERATIONS:
        for at, layer in enumerate(layers):
            common = {"checkpoint": "last", "epoch": 100, "split": "test", "layer": layer, "index": at, "pool": "none"}
            common |= {"scale": 1, "subset": 0, "n_samples": 10_000, "k": 100, "alteration": name, "kind": kind}
            common |= {"strength": strength, "n_used": 10_000, "reason": "", "engine": "exact", "recall": 1.0}
            for metric, value, chance, clean in (
                ("copy_distance", distance(at, strength), 1.0 - at / 100, 0.0),
                ("copy_nnls", 1 / (1 + distance(at, strength)), 0.005, 1.0),
                ("id_twonn", 20 + at, np.nan, 10.0 + at),
                ("nncs", 0.3, 0.1, 0.6),
            ):
                rows.append(
                    {**common, "metric": metric, "value": value, "std_error": 0.01, "chance": chance, "clean": clean}
                )
    write_table(rows, folder / "tables", "invariance")
    return load_run(folder)


@pytest.fixture(autouse=True)
def ours() -> Iterator[None]:
    with styled():
        yield


def lines(axes: Any, gid: str) -> list[Any]:
    return [line for line in axes.lines if line.get_gid() == gid]


def test_levels_of_one_kind_are_a_family(run: Run) -> None:
    assert run.tables.invariance is not None
    assert families(run.tables.invariance) == {"noise": ["noise_0.1", "noise_0.5", "noise_1"]}
    alone = run.tables.invariance[run.tables.invariance["alteration"].isin(["flip", "noise_1"])]
    assert families(alone) == {}
    names = pd.DataFrame({"alteration": ["blur_10", "blur_2"], "strength": [10.0, 2.0]})
    assert families(names) == {"blur": ["blur_2", "blur_10"]}, "by size, not by name"


def test_every_metric_has_its_figure_and_every_family_one_more(run: Run) -> None:
    found = list(invariance_plots(run))
    assert [plot.name for plot in found] == [
        *(f"invariance_{metric}_test" for metric in ("copy_distance", "copy_nnls", "id_twonn", "nncs")),
        "sensitivity_noise_test",
    ]
    assert all(plot.title and plot.caption for plot in found)
    assert [plot.name for plot in found if plot.main] == [found[0].name, found[1].name, found[-1].name]


def test_a_line_is_an_alteration_along_the_layers_with_its_chance(run: Run) -> None:
    (checkpoint, split, variant) = (run.main_checkpoint, "test", run.plain_variants[0])
    made = along_figure(run, "copy_distance", checkpoint, split, variant)
    assert made is not None
    single, family = made.axes
    assert [len(lines(axes, "series")) for axes in made.axes] == [1, 3]
    (flip,) = lines(single, "series")
    np.testing.assert_allclose(flip.get_ydata(), [distance(at, np.nan) for at in range(len(RESNET20))])
    np.testing.assert_allclose(lines(single, "chance")[0].get_ydata(), [1 - at / 100 for at in range(len(RESNET20))])
    assert [line.get_label() for line in lines(family, "series")] == ["0.1", "0.5", "1"]
    assert not lines(single, "clean")
    bands = [part.get_paths()[0].vertices for part in single.collections if len(part.get_paths())]
    (band,) = (found for found in bands if np.isclose(found[:, 1].max(), distance(0, np.nan) + 1.959964 * 0.01))
    assert band[:, 1].min() == pytest.approx(distance(len(RESNET20) - 1, np.nan) - 1.959964 * 0.01, abs=1e-6)


def test_the_altered_sets_metrics_stand_beside_the_clean_ones(run: Run) -> None:
    made = along_figure(run, "id_twonn", run.main_checkpoint, "test", run.plain_variants[0])
    assert made is not None
    for axes in made.axes:
        (clean,) = lines(axes, "clean")
        np.testing.assert_allclose(clean.get_ydata(), [10.0 + at for at in range(len(RESNET20))])


def test_against_the_level_lines_begin_at_the_clean_value(run: Run) -> None:
    made = level_figure(run, "noise", run.main_checkpoint, "test", run.plain_variants[0])
    assert made is not None
    assert [axes.get_ylabel() for axes in made.axes] == ["ID", "NNCS", "NNLS to the copies", "distance of a copy"]
    assert {len(lines(axes, "series")) for axes in made.axes} == {6}
    first = lines(made.axes[0], "series")[0]
    assert list(first.get_xdata()) == [0.0, *LEVELS]
    assert list(first.get_ydata()) == [10.0, 20.0, 20.0, 20.0]
    backwards = replace(run, tables=replace(run.tables, invariance=run.tables.invariance.iloc[::-1]))  # type: ignore[union-attr]
    again = level_figure(backwards, "noise", run.main_checkpoint, "test", run.plain_variants[0])
    assert again is not None
    by_name = {axes.get_ylabel(): lines(axes, "series")[0].get_xydata().tolist() for axes in again.axes}
    assert by_name["ID"] == first.get_xydata().tolist(), "whatever the order of the table"
    # The chance level of distances differs from layer to layer: one line would be wrong.
    assert [bool(lines(axes, "chance")) for axes in made.axes] == [False, True, True, False]


def test_without_the_table_there_is_nothing(make_run: Callable[..., Path]) -> None:
    assert not list(invariance_plots(load_run(make_run())))


def test_some_layers_stand_for_all() -> None:
    names = [str(at) for at in range(40)]
    assert chosen_layers(names) == ["0", "8", "16", "23", "31", "39"]
    assert chosen_layers(names[:3]) == names[:3]


def test_an_open_axis_shows_every_panels_chance_level_and_few_layers_are_called_chosen(run: Run) -> None:
    assert run.tables.invariance is not None
    frame = run.tables.invariance
    rows = frame[frame["metric"] == "copy_nnls"].assign(metric="copy_cosine", value=0.9)
    low = rows["chance"].where(rows["alteration"] == "flip", -0.6)  # of the second panel, which shares the axis
    rows = rows.assign(chance=low.where(rows["alteration"] != "flip", 0.8))
    shown = replace(run, tables=replace(run.tables, invariance=rows))
    made = along_figure(shown, "copy_cosine", run.main_checkpoint, "test", run.plain_variants[0])
    assert made is not None
    for axes in made.axes:
        bottom, top = axes.get_ylim()
        for line in (*lines(axes, "chance"), *lines(axes, "series")):
            assert bottom < np.nanmin(line.get_ydata())
            assert top >= np.nanmax(line.get_ydata())
    (sensitivity,) = [plot for plot in invariance_plots(run) if plot.name.startswith("sensitivity")]
    assert "6 chosen layers" in sensitivity.caption


def test_where_all_layers_are_drawn_none_are_called_chosen(make_run: Callable[..., Path]) -> None:
    plots = [plot for plot in invariance_plots(made_run(make_run, RESNET20[:4])) if plot.name.startswith("sensitivity")]
    assert len(plots) == 1
    assert "chosen" not in plots[0].caption
