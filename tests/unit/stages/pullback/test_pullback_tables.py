"""Tables of the pullback metrics: units, not points, are observations, and each column is what its name says."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rra_cli.metrics.pullback import Pullback
from rra_cli.stages.pullback.tables import (
    anchor_rows,
    layer_row,
    local_correlations,
    point_rows,
    pullback_tables,
    sides_of,
    uncertainty_of,
)
from rra_cli.stages.results import Measured

LINE = Pullback(at="line", near=0.25)
# Of each unit: eight points between the anchors, and two extrapolated ones, one at either end of all uncertainties.
N_INSIDE, N = 8, 10
DIFFERENCES = (1.0, 2.0, 6.0)


def shared_of(n_units: int = 3) -> dict[str, np.ndarray]:
    t = np.r_[np.linspace(0, 1, N_INSIDE), -1.0, 2.0]
    coordinates = np.stack([np.tile(t, n_units), np.full(N * n_units, np.nan)], axis=1)
    inside = np.tile(np.arange(N) < N_INSIDE, n_units)
    return {"unit": np.repeat(np.arange(n_units), N), "inside": inside, "coordinates": coordinates}


def uncertainty(n_units: int = 3) -> np.ndarray:
    """It rises along the line; of the extrapolated points one is the most and one the least certain."""
    return np.tile(np.r_[np.arange(1, N_INSIDE + 1) / 10, 2.0, 0.0], n_units)


def volumes(differences: tuple[float, ...] = DIFFERENCES) -> np.ndarray:
    """The last two points of a unit lie so much above the first two; extrapolated ones are absurd."""
    return np.concatenate([[0.0, 0.0, 5.0, 5.0, 5.0, 5.0, by, by, -1e6, 1e6] for by in differences])


def layer_of(volume: np.ndarray, directions: int = 10, **arrays: np.ndarray) -> Measured:
    figures = {"layer": "a", "n_inputs": 64, "n_features": 16, "directions": directions, "curvature": ""}
    return Measured(figures, {"log_volume": volume, "rank": np.arange(len(volume)) % 3 + 10, **arrays})


def test_the_units_of_the_test_are_lines_and_extrapolated_points_are_none_of_it() -> None:
    row = layer_row(layer_of(volumes()), shared_of(), uncertainty(), LINE, None)
    known = stats.ttest_1samp(DIFFERENCES, 0.0)
    interval = known.confidence_interval(0.95)
    assert (row["difference"], row["n_units"], row["n_points"]) == (pytest.approx(3.0), 3, 24)
    assert (row["p"], row["low"], row["high"]) == pytest.approx((known.pvalue, interval.low, interval.high))
    assert row["log_volume"] == pytest.approx((3 * 4 * 5 + 2 * sum(DIFFERENCES)) / 24)
    assert (row["rank_min"], row["rank_max"]) == (10, 12)
    # With points as units it would be another p by far: the control.
    near, far = np.repeat(DIFFERENCES, 2), np.zeros(6)
    assert stats.ttest_ind(near, far, equal_var=False).pvalue < row["p"] / 2


def test_a_ratio_is_of_one_of_the_directions_that_entered() -> None:
    for directions in (10, 2):
        row = layer_row(layer_of(volumes(), directions), shared_of(), uncertainty(), LINE, None)
        assert row["ratio"] == pytest.approx(math.exp(3.0 / directions))
        assert row["ratio_low"] == pytest.approx(math.exp(row["low"] / directions))
        assert row["ratio_high"] == pytest.approx(math.exp(row["high"] / directions))


def test_curvature_is_the_median_between_the_anchors() -> None:
    shared = shared_of()
    curvature = np.full(len(shared["inside"]), 1e9)
    curvature[shared["inside"]] = np.arange(24.0) ** 2
    curvature[0] = np.nan
    row = layer_row(layer_of(volumes(), curvature=curvature), shared, uncertainty(), LINE, None)
    assert row["curvature"] == 12.0**2, "of 1 .. 23, squared"


def test_local_correlations_are_those_of_residuals_between_the_anchors() -> None:
    shared, generator = shared_of(), np.random.default_rng(0)
    volume, unsure = generator.normal(size=(2, 3 * N))
    t, expected = np.linspace(0, 1, N_INSIDE), []
    for unit in range(3):
        here = slice(unit * N, unit * N + N_INSIDE)
        left = [values[here] - np.polyval(np.polyfit(t, values[here], 2), t) for values in (volume, unsure)]
        expected.append(np.corrcoef(*left)[0, 1])
    np.testing.assert_allclose(local_correlations(volume, unsure, shared, samples=False), expected)
    row = layer_row(layer_of(volume), shared, unsure, LINE, None)
    assert row["local_r"] == pytest.approx(np.mean(expected))
    assert row["local_p"] == pytest.approx(stats.ttest_1samp(expected, 0.0).pvalue)


def test_samples_are_units_themselves() -> None:
    generator = np.random.default_rng(1)
    volume, unsure = generator.normal(size=(2, 40))
    shared = {"unit": np.zeros(40, int), "inside": np.ones(40, bool), "coordinates": np.full((40, 2), np.nan)}
    row = layer_row(layer_of(volume), shared, unsure, Pullback(at="points", near=0.25), None)
    order = np.argsort(unsure)
    near, far = volume[order[-10:]], volume[order[:10]]
    assert row["difference"] == pytest.approx(near.mean() - far.mean())
    assert row["p"] == pytest.approx(stats.ttest_ind(near, far, equal_var=False).pvalue)
    assert row["p_free"] == pytest.approx(stats.mannwhitneyu(near, far).pvalue)
    assert row["n_units"] == 20
    assert math.isnan(row["local_r"])


def test_sides_are_told_within_each_unit() -> None:
    shared, unsure = shared_of(), uncertainty()
    unsure[N : 2 * N] += 5.0  # the second line is less certain everywhere
    assert sides_of(unsure, shared, 0.25) == ["far", "far", "", "", "", "", "near", "near", "", ""] * 3


def test_both_kinds_of_uncertainty_are_highest_on_a_boundary() -> None:
    p = np.array([[0.9, 0.1, 0.0], [0.7, 0.2, 0.1], [0.5, 0.5, 0.0]])
    assert np.argsort(uncertainty_of(p, "margin")).tolist() == [0, 1, 2]
    np.testing.assert_allclose(uncertainty_of(p, "margin"), [-0.8, -0.5, 0.0], atol=1e-15)
    # Entropy counts the third class, too: another order.
    assert np.argsort(uncertainty_of(p, "entropy")).tolist() == [0, 2, 1]


def test_points_are_numbered_within_their_unit() -> None:
    shared = shared_of(2) | {"probabilities": np.tile([0.25, 0.75], (2 * N, 1)), "sample_ids": np.arange(2 * N) + 100}
    layer = layer_of(np.full(2 * N, math.log(10) / 2), log_area=np.full(2 * N, math.log(10)))
    rows = list(point_rows(layer, shared, ["cat", "dog"], [""] * 2 * N))
    assert [(row["unit"], row["point"]) for row in rows] == [(unit, at) for unit in (0, 1) for at in range(N)]
    assert [row["inside"] for row in rows] == [1] * N_INSIDE + [0, 0] + [1] * N_INSIDE + [0, 0]
    assert [row["sample_id"] for row in rows] == list(range(100, 100 + 2 * N))
    last = rows[-1]
    assert (last["prediction"], last["margin"]) == ("dog", pytest.approx(0.5))
    assert last["entropy"] == pytest.approx(0.25 * math.log10(4) + 0.75 * math.log10(4 / 3))
    assert (last["log10_volume"], last["log10_area"]) == pytest.approx((0.5, 1.0))


def test_anchors_have_their_own_classes_and_their_pictures_a_height_and_a_width() -> None:
    pictures = np.random.default_rng(2).integers(0, 256, (2, 3, 4, 5), dtype=np.uint8)
    shared = {
        "anchors": np.array([[7, 9], [3, 4]]),
        "anchor_labels": np.array([[0, 1], [2, 0]]),
        "anchor_places": np.array([(0.0, np.nan), (1.0, np.nan)]),
        "thumbnails": pictures,
    }
    rows = list(anchor_rows(shared, ["cat", "dog", "frog"]))
    found = [(row["unit"], row["anchor"], row["sample_id"], row["class"], row["x"]) for row in rows]
    assert found == [(0, "a", 7, "cat", 0.0), (0, "b", 9, "dog", 1.0), (1, "a", 3, "frog", 0.0), (1, "b", 4, "cat", 1)]
    for picture, row in zip(pictures, rows, strict=False):
        assert (row["channels"], row["height"], row["width"]) == (3, 4, 5)
        assert bytes.fromhex(row["pixels"]) == picture.tobytes()
    assert "pixels" not in rows[2], "only those that are drawn"


def test_a_gain_is_what_came_since_the_first_checkpoint() -> None:
    """Not since the one before: near points gain 1, then 3 more."""
    shared = shared_of(2) | {"probabilities": np.stack([0.5 + uncertainty(2) / 5, 0.5 - uncertainty(2) / 5], axis=1)}
    grown: dict[str, np.ndarray] = {name: volumes((by, by)) for name, by in (("a", 0.0), ("b", 1.0), ("c", 4.0))}

    def stage(name: str) -> Any:
        return SimpleNamespace(
            key="way",
            metric=LINE,
            load=lambda store: [Measured({}, shared), layer_of(grown[name])],
            checkpoint=SimpleNamespace(label=name),
            training=SimpleNamespace(epoch_of=lambda store, checkpoint: 0),
            images=SimpleNamespace(dataset=SimpleNamespace(class_names=("cat", "dog"))),
        )

    store: Any = None
    tables = pullback_tables([stage(name) for name in "abc"], store)
    # The first class is the surer the higher the "uncertainty": what is near is the first two points.
    assert [row["difference"] for row in tables["pullback"]] == pytest.approx([0.0, -1.0, -4.0])
    assert [row["gain"] for row in tables["pullback"]] == pytest.approx([math.nan, -1.0, -4.0], nan_ok=True)
    assert "pullback_anchors" not in tables, "there are none"
    assert len(tables["pullback_points"]) == 3 * 2 * N
