"""Uniform balls beside curves of layers: the table against closed forms, and what is drawn and said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.spatial import cKDTree
from scipy.special import gammaln

from rra_cli.report.details.ball_bias import (
    balls,
    measured,
    rank_curves,
    sample_curves,
    through_rank,
    through_samples,
)
from rra_cli.report.details.dimension_scales import dimension_scale_figure
from rra_cli.report.details.plots import detail_plots
from rra_cli.report.load import load_run
from rra_cli.report.tables.writing import write_table

MakeRun = Callable[..., Path]
RANKS = (2, 4, 8, 16, 32, 64, 128, 256)


def test_the_table_tends_to_the_dimension_and_falls_with_rank() -> None:
    """Without an edge Gride has no bias: small sets, high ranks and high dimensions have the most of it."""
    table = balls()
    d, n, rank = table.dimensions.astype(float), table.sizes, table.ranks
    assert tuple(rank) == RANKS
    at_two = table.gride[:, :, 0]
    assert abs(at_two[0, -1] / 2 - 1) < 0.02, "in the plane next to none"
    assert ((at_two / d[:, None])[1:] < 1).all()
    assert (np.diff(table.gride, axis=0)[np.isfinite(table.gride[1:])] > 0).all()
    noise = 0.03 * d[:, None]
    assert (np.diff(at_two, axis=1) > -noise).all(), "more samples, less of it, at three standard errors"
    far = table.gride[:, -1, -1] / d
    assert (np.diff(far) < 0).all()
    steps = np.diff(table.gride, axis=2) / d[:, None, None]
    assert np.nanmax(steps) < 0.025, "larger ranks, more of it, at three standard errors"
    # The distribution of ratios depends on rank / N alone, but for the sampling of few neighbours.
    same = [(table.gride[:, s, 7], table.gride[:, s - 3, 4]) for s in range(4, 9)]
    for larger, smaller in same:
        np.testing.assert_allclose(larger, smaller, rtol=0.06)
    lists = [np.isfinite(table.gride[0, s]).sum() for s in range(len(n))]
    assert lists == [int(np.log2(min(256, size // 2))) for size in n], "ranks up to half of the samples"


def test_mean_distances_are_those_of_the_beta_law_far_from_the_edge() -> None:
    """Of a centre, r^d ~ Beta(rank, N - rank): E r = G(rank + 1/d) G(N) / G(rank) G(N + 1/d). Others: farther."""
    table = balls()
    for at, (d, most) in enumerate([(2, 0.06), (5, 0.22)]):
        assert table.dimensions[at] == d
        n = 32768
        law = np.exp(gammaln(table.ranks + 1 / d) + gammaln(n) - gammaln(table.ranks) - gammaln(n + 1 / d))
        excess = table.radius[at, -1] / law - 1
        assert (excess > 0).all()
        assert (excess < most).all()
        assert (np.diff(excess) > 0).all(), "the edge tells at larger radii"


def test_the_table_is_what_an_independent_search_gives() -> None:
    """scipy's tree and TwoNN in closed form, (N - 1) / sum log mu; the reference value of 20 dimensions is 16.3."""
    table, rng = balls(), np.random.default_rng(1)
    for at, d in enumerate((2, 5, 8)):
        assert table.dimensions[at] == d
        found, radii = [], []
        for _ in range(12):
            x = rng.normal(size=(1024, d))
            x *= rng.uniform(size=(1024, 1)) ** (1 / d) / np.linalg.norm(x, axis=1, keepdims=True)
            far = cKDTree(x).query(x, 17)[0][:, 1:]
            found.append(1023 / np.log(far[:, 1] / far[:, 0]).sum())
            radii.append(far[:, 15].mean())
        size = table.sizes.tolist().index(1024)
        error = np.std(found, ddof=1) / 12**0.5
        assert table.gride[at, size, 0] == pytest.approx(np.mean(found), abs=4 * error)
        assert table.radius[at, size, 3] == pytest.approx(np.mean(radii), rel=0.01)
        assert table.twonn["mle"][at, size] == pytest.approx(table.gride[at, size, 0] * 1024 / 1023, rel=2e-3)
    twenty = sample_curves(16.0, 17.0, 128, 2000)[20]
    assert twenty[1, -1] == pytest.approx(16.3, abs=0.15)
    for fit in ("linear", "mle_censored"):
        np.testing.assert_allclose(table.twonn[fit], table.twonn["mle"], rtol=0.06)


def test_curves_are_interpolated_in_log_n_and_end_where_nothing_was_measured() -> None:
    table = balls()
    found = rank_curves(1.0, 40.0, 2896.309, 256)  # sqrt(2048 * 4096)
    assert 2 <= len(found) <= 4
    row = table.dimensions.tolist().index(next(iter(found)))
    np.testing.assert_array_equal(found[int(table.dimensions[row])][0], RANKS)
    halfway = table.gride[row, 4:6].mean(axis=0)
    np.testing.assert_allclose(found[int(table.dimensions[row])][1], halfway, rtol=1e-6)
    assert max(rank_curves(1.0, 40.0, 1024, 16)[2][0]) == 16
    assert max(rank_curves(1.0, 40.0, 128, 256)[2][0]) == 64, "half of the samples"
    assert rank_curves(1.0, 40.0, 40_000, 256) == {}
    assert rank_curves(1.0, 40.0, 100, 256) == {}
    assert rank_curves(500.0, 600.0, 1024, 256) == {}
    curves = sample_curves(1.0, 40.0, 200, 2000)
    assert 2 <= len(curves) <= 4
    assert all((each[0, 0], each[0, -1]) == (200, 2000) for each in curves.values())
    assert sample_curves(1.0, 40.0, 100_000, 200_000) == {}
    assert sample_curves(500.0, 600.0, 200, 2000) == {}
    assert [measured(n) for n in (127, 128, 32768, 32769)] == [False, True, True, False]


def test_the_ball_through_a_point_goes_on_as_the_ball_does() -> None:
    """Of a measured dimension it is the table, scaled; between two it lies between; beyond them there is none."""
    table = balls()
    ten, fifteen = (table.dimensions.tolist().index(d) for d in (10, 15))
    size = table.sizes.tolist().index(4096)
    value, radius = table.gride[ten, size, 0], table.radius[ten, size]
    found = through_rank(value, 7.0, 4096, 256)
    assert found is not None
    np.testing.assert_allclose(found[0], 7.0 * radius / radius[0], rtol=1e-9)
    np.testing.assert_allclose(found[1], table.gride[ten, size], rtol=1e-9)
    between = through_rank(11.0, 1.0, 4096, 256)
    assert between is not None
    assert (between[:, 0] == [1.0, 11.0]).all()
    assert (between[1] < table.gride[fifteen, size]).all()
    assert (between[1, 1:] > table.gride[ten, size, 1:]).all()
    assert (between[0, 1:] < (radius / radius[0])[1:]).all(), "shells are thinner in more dimensions"
    assert through_rank(1.0, 7.0, 4096, 256) is None
    assert through_rank(200.0, 7.0, 4096, 256) is None
    assert through_rank(float("nan"), 7.0, 4096, 256) is None
    assert through_rank(11.0, 1.0, 50_000, 256) is None
    blocks = np.array([4096.0, 2048.0, 1024.0, 100.0])
    whole = through_samples(table.twonn["mle"][ten, size], 7.0, blocks)
    assert whole is not None
    np.testing.assert_allclose(whole[1], table.twonn["mle"][ten, [5, 4, 3]], rtol=1e-9)
    np.testing.assert_allclose(whole[0], 7.0 * table.radius[ten, [5, 4, 3], 0] / table.radius[ten, 5, 0], rtol=1e-9)


def scales_of(make_run: MakeRun, name: str, n: int, metrics: dict[str, object] | None = None) -> Path:
    """A run with Gride (ranks 2 to 16) and decimation (n, n / 2, n / 4) of two layers."""
    folder = make_run(name, layers=list("ab"), stages=None, splits=["test"])
    if metrics is not None:
        config = yaml.safe_load((folder / "config.yaml").read_text())
        (folder / "config.yaml").write_text(yaml.safe_dump({**config, "metrics": metrics}))
    common = {"checkpoint": "last", "epoch": 100, "split": "test", "pool": "none", "scale": 1, "subset": 0}
    common |= {"n_samples": 10_000, "k": 16, "engine": "exact", "recall": 1.0, "blocks": 1, "sd": None}
    rows = []
    for at, layer in enumerate("ab"):
        here = {**common, "layer": layer, "index": at, "std_error": 0.1}
        for level in range(4):
            gride = {"block_samples": n, "neighbor_rank": 2 << level, "value": 12.0 - level - at, "radius": 3.0 + level}
            rows.append({**here, "metric": "id_gride", **gride})
        for level in range(3):
            twonn = {"block_samples": n >> level, "neighbor_rank": 2, "value": 12.0 - level - at, "radius": 3.0 + level}
            rows.append({**here, "metric": "id_decimation", **twonn})
    write_table(rows, folder / "tables", "dimension_scales")
    return folder


@pytest.mark.parametrize(("metric", "axis"), [("id_gride", "rank"), ("id_decimation", "samples")])
def test_balls_are_drawn_and_named_at_the_runs_n(make_run: MakeRun, metric, axis) -> None:
    run = load_run(scales_of(make_run, "run", 10_000))
    figure = dimension_scale_figure(run, metric, axis, run.main_checkpoint, "test", run.variants[0])
    assert figure is not None
    axes = figure.axes[0]
    lines = [line for line in axes.lines if line.get_gid() == "ball"]
    expected = rank_curves(0, 99, 10_000, 16) if axis == "rank" else sample_curves(0, 99, 2_500, 10_000)
    assert lines
    assert len(lines) == len(axes.texts)
    for line, name in zip(lines, axes.texts, strict=True):
        (found,) = (
            rank_curves(y - 0.01, y + 0.01, 10_000, 16)
            if axis == "rank"
            else sample_curves(y - 0.01, y + 0.01, 2_500, 10_000)
            for y in [line.get_ydata()[0 if axis == "rank" else -1]]
        )
        np.testing.assert_allclose(line.get_xydata().T, found[int(name.get_text())])
    assert expected
    assert "uniform balls, dimension at end" in [text.get_text() for text in figure.legends[0].texts]


@pytest.mark.parametrize("metric", ["id_gride", "id_decimation"])
def test_over_radii_each_layer_has_its_own_ball(make_run: MakeRun, metric) -> None:
    run = load_run(scales_of(make_run, "run", 10_000))
    figure = dimension_scale_figure(run, metric, "radius", run.main_checkpoint, "test", run.variants[0])
    assert figure is not None
    layers, drawn = ([line for line in figure.axes[0].lines if line.get_gid() == gid] for gid in ("series", "ball"))
    assert len(drawn) == 2
    for at, (layer, ball) in enumerate(zip(layers, drawn, strict=True)):
        assert ball.get_color() == layer.get_color()
        np.testing.assert_allclose(ball.get_xydata()[0], [3.0, 12.0 - at])
        if metric == "id_gride":
            np.testing.assert_allclose(ball.get_xydata().T, through_rank(12.0 - at, 3.0, 10_000, 16))
        else:
            sizes = np.array([10_000.0, 5_000.0, 2_500.0])
            np.testing.assert_allclose(ball.get_xydata().T, through_samples(12.0 - at, 3.0, sizes))
    assert "uniform ball through the first point" in [text.get_text() for text in figure.legends[0].texts]


def captions(folder: Path) -> dict[str, str]:
    return {plot.name: plot.caption for plot in detail_plots(load_run(folder))}


def test_captions_say_what_the_balls_are_and_why_there_are_none(make_run: MakeRun) -> None:
    told = captions(scales_of(make_run, "run", 10_000))
    assert (
        "uniform balls of the dimension at the end of the line, by the same fit." in told["id_decimation_samples_test"]
    )
    assert "of as many samples (interpolated in log N)" in told["id_gride_rank_test"]
    assert "Where the curve over N is flat" in told["id_decimation_samples_test"]
    assert "rises towards small ranks" in told["id_gride_rank_test"]
    for metric in ("id_gride", "id_decimation"):
        assert "the layer's estimate and its mean distance at the smallest radius" in told[f"{metric}_radius_test"]
    large = captions(scales_of(make_run, "large", 60_000))
    assert (
        "No uniform balls beside them: those were measured with 128 to 32,768 samples." in large["id_gride_rank_test"]
    )
    assert "No uniform balls" in large["id_gride_radius_test"]
    assert "by the same fit, measured with 128 to 32,768 samples." in large["id_decimation_samples_test"]


@pytest.mark.parametrize("fit", ["linear", "mle_censored"])
def test_balls_of_another_fit_are_its_own_and_of_another_discard_not_drawn(make_run: MakeRun, fit) -> None:
    def drawn(discard: float) -> tuple[Path, int]:
        metrics: dict[str, object] = {"id_decimation": {"name": "decimation", "fit": fit, "discard": discard}}
        folder = scales_of(make_run, f"{fit}{discard}", 10_000, metrics)
        run = load_run(folder)
        count = 0
        for axis in ("samples", "radius"):
            figure = dimension_scale_figure(run, "id_decimation", axis, run.main_checkpoint, "test", run.variants[0])
            assert figure is not None
            lines = [line for line in figure.axes[0].lines if line.get_gid() == "ball"]
            count += len(lines)
            if lines and axis == "samples":
                y = float(lines[0].get_ydata()[-1])
                assert sample_curves(y - 1e-9, y + 1e-9, 2_500, 10_000, fit), "that fit's"
                assert not sample_curves(y - 1e-9, y + 1e-9, 2_500, 10_000), "the control: not the one of mle"
        return folder, count

    folder, count = drawn(0.1)
    assert count > 2
    folder, count = drawn(0.2)
    assert count == 0
    assert (
        "No uniform balls beside them: those were measured with discard=0.1 alone."
        in (captions(folder)["id_decimation_samples_test"])
    )
