"""What is drawn is what the tables say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from rra_cli.report.context_line import context
from rra_cli.report.curves import curve
from rra_cli.report.details.twonn_fit import density, fit_check, mu_distribution, survival
from rra_cli.report.heatmaps import annotate, cell_texts, nnls_map, nnls_matrix
from rra_cli.report.layer_axis import chosen_layers, layer_ticks, stage_runs
from rra_cli.report.load import load_run
from rra_cli.report.milestones import milestone_matrix
from rra_cli.report.pair_curves import pair_curve
from rra_cli.report.plot import of_some_samples
from rra_cli.report.plots import plots
from rra_cli.report.run import Run
from rra_cli.report.style import COLOURS, DASHES, MARKERS, encode, file_name, line_style, shorten, styled
from rra_cli.report.training_curves import training_figure

MakeRun = Callable[..., Path]


def artists(figure: Figure, gid: str) -> list[Any]:
    return [artist for axes in figure.axes for artist in axes.get_children() if artist.get_gid() == gid]


def column(run: Run, name: str, **where: Any) -> np.ndarray:
    frame = run.tables.layers
    for key, value in where.items():
        frame = frame[frame[key] == value]
    return frame.sort_values("index")[name].to_numpy(float)


def test_id_curve_draws_the_table(make_run: MakeRun) -> None:
    run = load_run(make_run(layers=list("abcde"), stages=["1", "1", "2", "2", "3"]))
    figure = curve(run, run.id_metrics)
    train, test = artists(figure, "series")
    np.testing.assert_array_equal(train.get_ydata(), column(run, "id_twonn", split="train"))
    np.testing.assert_array_equal(test.get_ydata(), column(run, "id_twonn", split="test"))
    assert not np.array_equal(train.get_ydata(), test.get_ydata())
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == list("abcde")
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    value = column(run, "id_twonn", split="train")
    assert band.max() == pytest.approx((value * (1 + 1.96 / 15000**0.5)).max())
    assert band.min() == pytest.approx((value * (1 - 1.96 / 15000**0.5)).min())


def test_nncs_curve_has_chance_level_and_the_accuracy_of_what_was_measured(make_run: MakeRun) -> None:
    run = load_run(make_run(layers=list("abc"), stages=None))
    figure = curve(run, ["nncs"])
    (chance,) = artists(figure, "chance")
    assert set(chance.get_ydata()) == {0.0999}
    train, test = artists(figure, "accuracy")
    last = run.training.iloc[-1]
    assert set(test.get_ydata()) == {last["test_accuracy"]}
    # The un-augmented samples, not the mean over the augmented epoch.
    assert set(train.get_ydata()) == {last["train_clean_accuracy"]} != {last["train_accuracy"]}
    untrained = load_run(make_run("b", layers=list("abc"), stages=None, training=False))
    assert artists(curve(untrained, ["nncs"]), "accuracy") == []


def test_a_layer_without_a_value_is_a_gap_and_marked(make_run: MakeRun) -> None:
    run = load_run(make_run(layers=list("abcde"), stages=None, splits=["test"], empty=[2]))
    figure = curve(run, run.id_metrics)
    (line,) = artists(figure, "series")
    assert np.flatnonzero(np.isnan(line.get_ydata())).tolist() == [2]
    (mark,) = artists(figure, "missing")
    assert mark.get_xdata() == [2]
    assert "no value" in [text.get_text() for text in figure.legends[0].get_texts()]
    whole = load_run(make_run("whole", layers=list("abcde"), stages=None, splits=["test"]))
    assert artists(curve(whole, whole.id_metrics), "missing") == []


def test_lines_are_told_apart_without_colour(make_run: MakeRun) -> None:
    """No two lines share marker, filling and dashes; and our colours differ in lightness."""
    for alone, styles in (
        (True, [line_style(0, split, True) for split in range(2)]),
        (False, [line_style(number, split, False) for number in range(9) for split in range(2)]),
    ):
        looks = {(style.marker, style.filled, str(style.dashes)) for style in styles}
        assert len(looks) == len(styles), alone
    combinations = {
        line_style(number, 0, False).keywords()["marker"] + line_style(number, 0, False).colour for number in range(80)
    }
    assert len(combinations) == 80
    assert len(set(MARKERS)) == len(MARKERS) == len(COLOURS)
    assert len({str(dashes) for dashes in DASHES}) == len(DASHES)
    lightness = [float(np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722))) for colour in COLOURS[:2]]
    assert abs(lightness[0] - lightness[1]) > 0.03


@pytest.mark.parametrize(
    ("settings", "panels", "lines"),
    [
        ({"checkpoints": [("epoch_0000", 0), ("last", 10)]}, 1, 4),  # few checkpoints: a line each
        ({"checkpoints": [(f"epoch_{e:04d}", e) for e in range(5)]}, 1, 2),  # many: the latest only
        ({"checkpoints": [("epoch_0010", 10), ("last", 10)]}, 1, 2),  # two names of the same weights: one line
        ({"variants": [("none", 1), ("cls", 1)]}, 1, 4),
        ({"variants": [("none", 1), ("cls", 1), ("last", 1), ("mean", 1)]}, 2, 8),  # too many for one panel
        ({"variants": [("none", 1), ("avg", 2), ("avg", 0), ("max", 2)]}, 1, 2),  # windows have figures of their own
    ],
)
def test_which_lines_there_are(make_run: MakeRun, settings: dict[str, Any], panels: int, lines: int) -> None:
    run = load_run(make_run(layers=list("abc"), stages=None, training=False, **settings))
    figure = curve(run, run.id_metrics)
    assert (len(figure.axes), len(artists(figure, "series"))) == (panels, lines)


def test_nnls_map_draws_the_table_in_layer_order(make_run: MakeRun) -> None:
    layers = ["z", "b", "a10", "a2"]
    run = load_run(make_run(layers=layers, stages=["1", "1", "2", "2"], empty=[3]))
    matrix = nnls_matrix(run, run.main_checkpoint, "test", run.variants[0])
    assert matrix is not None
    for (i, j), value in np.ndenumerate(matrix):
        expected = 1.0 if i == j else 0.75 * np.exp(-0.28 * abs(i - j)) * (0.6 if i // 2 != j // 2 else 1.0)
        assert np.isnan(value) if 3 in (i, j) else value == pytest.approx(expected, rel=1e-15)
    with styled():
        figure = nnls_map(run, matrix)
    (image,) = figure.axes[0].images
    np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan), matrix)
    assert image.get_clim() == (0.0, 1.0)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == layers
    written = sorted(text.get_text() for text in figure.axes[0].texts)
    assert written == sorted(cell_texts(matrix[np.isfinite(matrix)]))
    lightness = image.cmap(np.linspace(0, 1, 32))[:, :3] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()  # reads the same in grey


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ((1.0, 0.996, 0.444, 0.4, 0.0049, 0.0, -0.25), ["1", "1", ".44", ".40", ".00", "0", "-.25"]),
        ((0.052, 0.005, 0.0004), [".052", ".005", ".000"]),
        ((7.6, 7.125, 0.44, 1.0), ["7.60", "7.12", "0.44", "1.00"]),
        ((12.34, 7.6, 9.97), ["12.3", "7.6", "10.0"]),
        ((9.997, 2.0), ["10.0", "2.0"]),
        ((131.2, 7.6, 1.2), ["131", "8", "1"]),
        ((1.49, 0.5, -0.5), ["1.49", ".50", "-.50"]),
    ],
)
def test_cells_of_a_map_have_equally_many_decimals(values: tuple[float, ...], texts: list[str]) -> None:
    assert cell_texts(np.array(values)) == texts
    assert cell_texts(np.empty(0)) == []


def test_cells_of_a_map_have_one_size() -> None:
    figure = Figure()
    sizes = []
    for values in ([[0.44, 0.4]], [[12.34, 7.6]], [[7.6, np.nan]]):
        axes = figure.subplots()
        annotate(axes, np.array(values), low=0.0, high=20.0)
        (size,) = {text.get_fontsize() for text in axes.texts}
        sizes.append(size)
    assert sizes[0] > sizes[1] == sizes[2], "four characters need more room than three"


def test_beside_altered_samples_there_is_no_accuracy_of_unaltered_ones(make_run: MakeRun) -> None:
    folder = make_run(layers=list("abc"), stages=None)
    plain = load_run(folder)
    with (folder / "config.yaml").open("a") as file:
        file.write("alter: {name: noise_mix, level: 1.0}\n")
    run = load_run(folder)
    assert artists(curve(plain, ["nncs"]), "accuracy")
    assert artists(curve(run, ["nncs"]), "accuracy") == []
    captions = {plot.name: plot.caption for plot in plots(run)}
    assert "Stars" not in captions["nncs_curve"]


def test_curves_name_split_samples_neighbours_and_checkpoint(make_run: MakeRun) -> None:
    run = load_run(make_run(layers=list("abc"), stages=None))
    at = run.shown_checkpoints
    assert context(run, ["nncs"], at) == "train: N = 15,000, k = 150; test: N = 10,000, k = 100; last (epoch 100)"
    assert context(run, ["id_twonn"], at) == "train: N = 15,000; test: N = 10,000; last (epoch 100)", "it reads two"
    made = curve(run, ["nncs"])
    assert made.legends[0].get_title().get_text() == context(run, ["nncs"], at)
    along = pair_curve(run, "nnls", run.main_checkpoint, run.variants[0])
    assert along is not None
    assert along.legends[0].get_title().get_text() == context(run, ["nnls"], at)
    alone = load_run(make_run("alone", layers=list("abc"), stages=None, splits=["test"]))
    made = curve(alone, ["id_twonn"])
    assert made.legends == []
    assert made.get_supxlabel() == "test: N = 10,000; last (epoch 100)"


def test_a_value_of_some_samples_says_that_layers_are_about_different_ones(make_run: MakeRun) -> None:
    run = load_run(make_run(layers=list("abc"), stages=None))
    assert of_some_samples(run, "nncs") == ""
    used = run.tables.metrics["n_used"].where(run.tables.metrics["layer"] != "b", 8150)
    fewer = replace(run, tables=replace(run.tables, metrics=run.tables.metrics.assign(n_used=used)))
    told = of_some_samples(fewer, "nncs")
    assert told.startswith("Of 54 to 100 % of the samples")
    assert "layers are about different samples" in told
    assert told in {plot.name: plot.caption for plot in plots(fewer)}["nncs_curve"]


@given(n=st.integers(1, 80), data=st.data())
def test_chosen_layers_hold_first_last_and_peak(n: int, data: st.DataObject) -> None:
    peak = data.draw(st.none() | st.integers(0, n - 1))
    chosen = chosen_layers(n, peak)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(n, 6)
    assert {0, n - 1} <= set(chosen)
    assert peak is None or peak in chosen


@given(dimension=st.floats(0.5, 200))
def test_data_that_follow_the_law_lie_on_the_line_and_under_the_density(dimension: float) -> None:
    """Quantiles of the Pareto law in closed form: -log(1-F) = d log μ, and each bin holds its exact mass."""
    levels = np.linspace(0.0, 1.0, 201)[:-1]
    mu = (1.0 - levels) ** (-1.0 / dimension)
    x, y = survival(levels, mu)
    np.testing.assert_allclose(y, dimension * x, rtol=1e-9, atol=1e-12)
    edges, height = density(levels, mu)
    assert edges[0] == 1.0
    exact = (edges[:-1] ** -dimension - edges[1:] ** -dimension) / np.diff(edges)
    np.testing.assert_allclose(height, exact, rtol=1e-6)
    # Negative control: another dimension's law is not met.
    assert not np.allclose(y, 1.2 * dimension * x)


def test_density_keeps_all_mass_where_ratios_repeat() -> None:
    levels = np.linspace(0.0, 1.0, 201)
    mu = np.maximum(1.0, np.round(1.0 + levels, 1))  # many ties, also at 1
    edges, height = density(levels, mu)
    assert (np.diff(edges) > 0).all()
    assert np.isfinite(height).all()
    assert float(np.sum(height * np.diff(edges))) == pytest.approx(0.95)
    edges, height = density(levels, np.ones(201))  # every ratio is 1: there is no density
    assert len(edges) == 1
    assert len(height) == 0


def test_mu_plots_show_the_fitted_dimension(make_run: MakeRun) -> None:
    run = load_run(make_run(layers=list("abcdefgh"), stages=None))
    here = (run.main_checkpoint, "test", run.variants[0])
    ids = column(run, "id_twonn", split="test")
    figure = fit_check(run, *here)
    assert figure is not None
    lines = artists(figure, "law")
    slopes = [line.get_ydata()[1] / line.get_xdata()[1] for line in lines]
    np.testing.assert_allclose(slopes, ids)
    assert [line.get_ydata()[0] for line in lines] == [0.0] * 8
    figure = mu_distribution(run, *here)
    assert figure is not None
    at_one = [line.get_ydata()[0] for line in artists(figure, "law")]
    np.testing.assert_allclose(at_one, ids)  # the law's density at μ = 1 is d


def test_training_curves_draw_the_history(make_run: MakeRun) -> None:
    run = load_run(make_run(layers=["a"], stages=None, checkpoints=[("epoch_0000", 0), ("last", 20)]))
    figure = training_figure(run)
    assert figure is not None
    for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
        (line,) = artists(figure, name)
        np.testing.assert_array_equal(line.get_ydata(), run.training[name].to_numpy(float))
    (clean,) = artists(figure, "train_clean_accuracy")
    assert np.isfinite(clean.get_ydata()).sum() == 3
    (measured,) = artists(figure, "measured")
    assert list(measured.get_xdata()) == [0, 20]
    assert training_figure(load_run(make_run("b", layers=["a"], stages=None, training=False))) is None


def test_milestones_are_ordered_by_epoch_and_leave_out_best(make_run: MakeRun) -> None:
    checkpoints = [("last", 30), ("best", 17), ("epoch_0000", 0), ("epoch_0005", 5), ("epoch_0030", 30)]
    run = load_run(make_run(layers=list("ab"), stages=None, checkpoints=checkpoints, splits=["test"]))
    assert [c.label for c in run.checkpoints] == ["epoch_0000", "epoch_0005", "best", "last"]
    matrix = milestone_matrix(run, "id_twonn", "test", run.variants[0])
    assert matrix is not None
    wanted = [column(run, "id_twonn", checkpoint=c) for c in ("epoch_0000", "epoch_0005", "last")]
    np.testing.assert_array_equal(matrix, np.stack(wanted, axis=1))
    single = load_run(make_run("single", layers=list("ab"), stages=None))
    assert milestone_matrix(single, "id_twonn", "test", single.variants[0]) is None


def test_smaller_subsets_and_smaller_k_do_not_enter_the_curves(make_run: MakeRun) -> None:
    run = load_run(make_run(layers=list("ab"), stages=None, splits=["test"]))
    frame = run.tables.metrics
    decoys = [frame.assign(value=99.0, subset=1), frame.assign(value=98.0, n_samples=50), frame.assign(value=97.0, k=3)]
    for decoy in decoys:
        frame = type(frame)({name: [*frame[name], *decoy[name]] for name in frame.columns})
    object.__setattr__(run.tables, "metrics", frame)
    series = run.series("id_twonn", run.main_checkpoint, "test", run.variants[0])
    assert series is not None
    np.testing.assert_array_equal(series.value, column(run, "id_twonn"))


@pytest.mark.parametrize("n", [1, 2, 13, 22, 60, 300])
@pytest.mark.parametrize("length", [1, 9, 60])
def test_layer_names_never_overlap(n: int, length: int) -> None:
    with styled():
        figure = Figure(figsize=(3.3, 3.0), dpi=200)
        axes = figure.add_axes((0.1, 0.5, 2.7 / 3.3, 0.4))
        axes.set_xlim(-0.5, n - 0.5)
        layer_ticks(axes, [f"{at:03d}"[:length] + "m" * max(0, length - 3) for at in range(n)])
        figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert boxes[-1].x0 > boxes[0].x0 or n == 1
    for left, right in pairwise(boxes):
        assert left.x1 <= right.x0 + 1
    assert len(axes.get_xticks()) + len(axes.get_xticks(minor=True)) == n  # every layer keeps its tick


def test_stage_runs() -> None:
    assert stage_runs(["", "a", "a", "b", "a"]) == [(0, 0, ""), (1, 2, "a"), (3, 3, "b"), (4, 4, "a")]
    assert stage_runs([]) == []


def test_file_names_are_plain_and_do_not_collide() -> None:
    assert file_name("nnls", "train", "", "epoch_0010") == "nnls_train_epoch_0010"
    odd = [file_name("nnls", part) for part in ("../../etc", "a/b", "a b", "a\\b", "ä", "ö", "x" * 300, "x" * 301)]
    assert len(set(odd)) == len(odd)
    for name in odd:
        assert name.replace("_", "").replace("-", "").isalnum()
        assert name.isascii()
        assert len(name) < 100


def test_shorten_keeps_both_ends() -> None:
    assert shorten("layer1", 6) == "layer1"
    assert shorten("layer1.block2.conv3", 9) == "laye…onv3"[:9]
    assert len(shorten("x" * 40, 18)) == 18


@pytest.mark.long
def test_equal_tables_give_equal_files(make_run: MakeRun) -> None:
    def drawn(run: Run, only: str = "") -> dict[str, dict[str, bytes]]:
        with styled():
            made = {plot.name: plot.draw() for plot in plots(run) if only in plot.name}
            return {name: encode(figure) for name, figure in made.items() if figure is not None}

    settings: dict[str, Any] = {"layers": ["a", "b"], "stages": None, "splits": ["test"]}
    first, second = drawn(load_run(make_run("a", **settings))), drawn(load_run(make_run("b", **settings)))
    assert first == second
    other = drawn(load_run(make_run("c", **settings | {"empty": [1]})), only="id_curve")
    assert other["id_curve"] != first["id_curve"]
    for encoded in first.values():
        assert encoded["png"].startswith(b"\x89PNG")
        assert b"<dc:date>" not in encoded["svg"]
        assert b"http" not in encoded["svg"].replace(b"http://www.w3.org", b"").replace(
            b"http://purl.org", b""
        ).replace(b"http://creativecommons.org", b"")
