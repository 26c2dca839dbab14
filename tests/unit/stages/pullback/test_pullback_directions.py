"""Over how many directions a volume is, in which blocks it is measured, and what is said of both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pullback_runs import LINE, experiment, run

from rra_cli.metrics.pullback import Pullback
from rra_cli.models.mlp import MLP
from rra_cli.stages.pullback.blocks import by_blocks, by_rounding, common_directions
from rra_cli.stages.pullback.stage import PullbackStage, of_curvature
from rra_cli.stages.pullback.tables import layer_row, of_directions
from rra_cli.stages.results import Measured


def test_directions_are_those_that_nearly_all_points_have() -> None:
    assert common_directions(np.full(100, 12.0)) == 12
    assert common_directions(np.array([12.0] * 97 + [3.0] * 3)) == 12
    assert common_directions(np.array([12.0] * 80 + [9.0] * 20)) == 9
    assert common_directions(np.array([0.0, -1.0])) == 0


def test_what_is_said_of_curvatures() -> None:
    assert "degenerate" in of_curvature(np.array([np.nan, np.nan]), 5)
    assert "two outputs" in of_curvature(np.zeros(3), 2)
    assert "piecewise linear" in of_curvature(np.array([0.0, np.nan]), 5)
    assert of_curvature(np.array([0.0, 1e-9]), 5) == ""


def test_blocks_cover_every_point_once(tmp_path: Path) -> None:
    spans: list[tuple[int, int]] = []

    def block(start: int, stop: int, progress: Any) -> np.ndarray:
        spans.append((start, stop))
        return np.arange(start, stop, dtype=float)[None]

    np.testing.assert_array_equal(by_blocks(tmp_path, "x", 1000, block, lambda *_: None)[0], np.arange(1000))
    assert len(spans) == 40
    by_blocks(tmp_path, "x", 1000, block, lambda *_: None)
    assert len(spans) == 40, "nothing twice"


def layer_of(directions: int, **arrays: np.ndarray) -> Measured:
    figures = {"layer": "a", "n_inputs": 64, "n_features": 16, "directions": directions, "curvature": ""}
    return Measured(figures, {"log_volume": np.arange(8.0), "rank": np.full(8, 16), **arrays})


def test_a_rank_that_rounding_decides_is_told_apart_from_one_that_is_chosen() -> None:
    assert by_rounding(22, 784, 400, None)
    assert by_rounding(8, 784, 400, 10)
    assert not by_rounding(10, 784, 400, 10), "top"
    assert not by_rounding(16, 64, 16, None), "all of n"
    assert not by_rounding(2, 2, 250, 10), "all of d"
    assert not by_rounding(0, 784, 400, 10), "a constant layer has reasons of its own"
    wide = replace(LINE, top=10)
    assert "rounding error of float64" in of_directions(layer_of(9), wide)
    assert of_directions(layer_of(10), wide) == ""


def test_an_empty_gain_has_its_reason() -> None:
    shared = {"unit": np.repeat([0, 1], 4), "inside": np.ones(8, bool), "coordinates": np.full((8, 2), np.nan)}
    shared["coordinates"][:, 0] = np.tile(np.arange(4.0), 2)
    uncertainty = np.tile([0.1, 0.2, 0.5, 0.6], 2)
    row = layer_row(layer_of(10), shared, uncertainty, LINE, layer_of(12))
    assert np.isnan(row["gain"])
    assert "over 10 directions here and over 12 at the first checkpoint" in row["reason"]
    row = layer_row(layer_of(10), shared, uncertainty, LINE, layer_of(10, log_volume=np.zeros(8)))
    assert row["gain"] == pytest.approx(row["difference"])
    assert "gain" not in row["reason"]
    first = layer_row(layer_of(10), shared, uncertainty, LINE, None)
    told = "no gain: it is counted from this checkpoint, the first one"
    assert first["reason"].endswith(told)
    alone = {name: values[:4] for name, values in shared.items()}
    line = layer_of(10, log_volume=np.arange(4.0), rank=np.full(4, 16))
    one = layer_row(line, alone, uncertainty[:4], LINE, None)["reason"]
    assert one.startswith("one unit has no scatter"), "which is why there is no interval"
    assert one.endswith(told)


def test_ten_directions_of_images_do_not_depend_on_the_type(tmp_path: Path) -> None:
    """The default takes ten, far above the rounding error of either."""
    assert Pullback().top == 10
    model = MLP(width=60, depth=1, activation="gelu")
    lines = {"single": replace(LINE, top=10, dtype="float32"), "double": replace(LINE, top=10)}
    tables, _ = run(experiment(tmp_path, lines, model=model), tmp_path / "run")
    rows = {row["metric"]: row for row in tables["pullback"] if row["checkpoint"] == "last"}
    assert {row["directions"] for row in rows.values()} == {"10.0"}
    assert float(rows["single"]["ratio"]) == pytest.approx(float(rows["double"]["ratio"]), rel=1e-4)
    assert "rounding" not in rows["single"]["reason"]


def test_a_run_says_where_rounding_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three units of sixteen have weights: of rank 3, so what counts is only what lies above the rounding error."""
    original = PullbackStage.maps

    def deficient(self: PullbackStage, encoder: Any, *rest: Any, **more: Any) -> Any:
        with torch.no_grad():
            encoder.module.hidden1.linear.weight[3:] = 0.0
        return original(self, encoder, *rest, **more)

    wanted = experiment(tmp_path, {"way": replace(LINE, top=10)}, model=MLP(width=16, depth=1, activation="gelu"))
    monkeypatch.setattr(PullbackStage, "maps", deficient)
    tables, reporter = run(wanted, tmp_path / "run")
    assert all(row["directions"] == "3.0" and "rounding error" in row["reason"] for row in tables["pullback"])
    assert any("hidden1 (3 of 16)" in note for note in reporter.notes)
