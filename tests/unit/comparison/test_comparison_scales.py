"""Curves of networks whose maps differ in size, at equal windows and at equal maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rra_cli.comparison.groups import Group
from rra_cli.comparison.runs import FinishedRun
from rra_cli.comparison.scales import scale_correlation_rows
from rra_cli.report.tables.writing import write_table

LAYERS = ("l0", "l1", "l2", "l3", "flat")
SCALES = (1, 2, 4, 0)


def truth(layer: int, side: int) -> float:
    """A value that depends on the layer and on the map that is left, not on the window."""
    return float(np.sin(3.0 * layer) + (np.log2(side) - 2.0) * np.cos(5.0 * layer))


def group(folder: Path, label: str, side: int, *, pools: tuple[str, ...] = ("avg",), seeds: int = 1) -> Group:
    """A network whose images have that side, halved at the third layer."""
    runs = []
    for seed in range(seeds):
        rows = []
        for pool in ("none", *pools):
            for scale in (1,) if pool == "none" else SCALES[1:]:
                for index, layer in enumerate(LAYERS):
                    whole = side // 2 if index >= 2 else side
                    left = None if layer == "flat" else 1 if scale == 0 else max(1, whole // scale)
                    value = truth(index, left or 1) + (seed - (seeds - 1) / 2)
                    rows.append(
                        {
                            **{"checkpoint": "last", "epoch": 1, "split": "test", "layer": layer, "index": index},
                            **{"pool": pool, "scale": scale, "subset": 0, "n_samples": 50, "k": 5, "metric": "nncs"},
                            **{"height": left, "width": left, "value": value, "std_error": 0.0, "unpooled": value},
                            **{"local": 0.0, "local_std_error": 0.0, "reason": "", "engine": "exact", "recall": 1.0},
                        }
                    )
        path = folder / f"{label}{seed}"
        write_table(rows, path / "tables", "scales")
        nothing = None
        runs.append(FinishedRun(path.name, path, {}, seed, nothing, nothing))  # type: ignore[arg-type]
    return Group(label, {}, tuple(runs))


def test_networks_that_depend_on_the_map_agree_at_equal_maps_and_not_at_equal_windows(tmp_path: Path) -> None:
    small, large = group(tmp_path, "small", 8), group(tmp_path, "large", 16, seeds=2)
    found = list(scale_correlation_rows([small, large]))
    at = {(row["over"], row.get("scale_a")): row for row in found}
    for scale, other in ((1, 2), (2, 4)):
        assert at["map", scale]["r"] == pytest.approx(1.0)
        assert (at["map", scale]["scale_b"], at["map", scale]["n_layers"]) == (other, 5)
        assert at["window", scale]["r"] < 0.99, "the control"
        assert at["window", scale]["scale_b"] == scale
    assert at["map", 0]["r"] == at["window", 0]["r"] == pytest.approx(1.0), "the whole map is one place in both"
    means = {row["over"]: row for row in found if row.get("scale_a") is None}
    whole = (1, 2, 0)  # after windows of 4 only two layers with maps have a partner of equal map
    assert at["map", 4]["n_layers"] == 3
    assert at["window", 4]["n_layers"] == 5
    for over, mean in means.items():
        assert mean["r"] == pytest.approx(np.mean([at[over, scale]["r"] for scale in whole])), over
        assert (mean["n_curves"], mean["n_layers"]) == (3, None)
    assert means["map"]["r"] == pytest.approx(1.0)
    assert means["window"]["r"] < 0.99


def test_a_network_is_like_itself_and_other_kinds_of_windows_are_not_mixed(tmp_path: Path) -> None:
    one, other = group(tmp_path, "one", 8), group(tmp_path, "other", 8)
    assert all(row["r"] == pytest.approx(1.0) for row in scale_correlation_rows([one, other]))
    maxima = group(tmp_path, "maxima", 8, pools=("max",))
    assert not list(scale_correlation_rows([one, maxima]))
    assert not list(scale_correlation_rows([one]))


def test_runs_without_scales_are_passed_over(tmp_path: Path) -> None:
    plain = Group("plain", {}, (FinishedRun("x", tmp_path, {}, 0, None, None),))  # type: ignore[arg-type]
    assert not list(scale_correlation_rows([group(tmp_path, "one", 8), plain]))


def test_without_a_window_at_which_all_layers_are_compared_there_is_no_mean(tmp_path: Path) -> None:
    """The larger network has windows of 4 alone: at equal windows those are compared, at equal maps those of 2."""
    small, large = group(tmp_path, "small", 8), group(tmp_path, "large", 16)
    for run in large.runs:
        path = run.folder / "tables" / "scales.csv"
        kept = [line for line in path.read_text().splitlines() if ",avg,2," not in line and ",avg,0," not in line]
        path.write_text("\n".join([line for line in kept if ",none,1," not in line]) + "\n")
        path.with_suffix(".parquet").unlink()
    found = list(scale_correlation_rows([small, large]))
    assert {(row["over"], row["scale_a"]) for row in found if "scale_a" in row} >= {("window", 4), ("map", 2)}
    assert all("scale_a" in row for row in found)
