"""What a run tells of SVCCA's directions, and of the intervals of dimensions over scales."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from similarities import N, activations, experiment, rows, run

from rra_cli.config.experiment import MetricSet
from rra_cli.config.uncertainty import UncertaintyConfig
from rra_cli.data.digits import Digits
from rra_cli.metrics.canonical import SVCCA
from rra_cli.metrics.decimation import Decimation
from rra_cli.metrics.gride import Gride
from rra_cli.metrics.metric import Metric
from rra_cli.stages import basis_rows

SVCCA_ALONE: dict[str, Metric] = {"svcca": SVCCA()}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bases")
    run(root / "run", experiment(root, SVCCA_ALONE))
    return root


def test_directions_of_svcca_are_the_fewest_that_hold_the_share(done: Path) -> None:
    found = rows(done / "run/tables/svcca_bases.csv")
    layers = activations(done)
    assert [row["layer"] for row in found] == list(layers)
    for row in found:
        x = layers[row["layer"]].astype(np.float64)
        variances = np.square(np.linalg.svd(x - x.mean(axis=0), compute_uv=False))
        shares = np.cumsum(variances) / variances.sum()
        directions = int(row["n_directions"])
        assert directions == 1 + np.searchsorted(shares, 0.99)
        assert float(row["held"]) == pytest.approx(shares[directions - 1], rel=1e-6)
        assert float(row["residual"]) == pytest.approx(1 - shares[directions - 1], rel=1e-3, abs=1e-9)
        assert (row["metric"], row["decomposition"]) == ("svcca", "exact")
    assert {row["n_directions"] for row in found} != {row["n_features"] for row in found}, (
        "the control: some are left out"
    )


def test_a_randomised_basis_is_called_so(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one where samples and features are more than are decomposed: here as if the limit lay between layers."""
    narrow, *_, wide = sorted({min(N, x.shape[1]) for x in activations(done).values()})
    monkeypatch.setattr(basis_rows, "LARGEST", narrow)
    run(done / "limited", experiment(done, SVCCA_ALONE))
    found = rows(done / "limited/tables/svcca_bases.csv")
    told = {min(N, int(row["n_features"])): row["decomposition"] for row in found}
    assert (told[narrow], told[wide]) == ("exact", "randomised")


def test_scale_curves_have_intervals_on_request(tmp_path: Path) -> None:
    """Of the metric's own value that of metrics.csv, of four or more blocks Student's t; others would be invented."""
    metrics: dict[str, Metric] = {"id_decimation": Decimation(smallest=30), "id_gride": Gride(rank=2)}
    data = Digits(n_samples=240, balanced=True, splits=("test",))
    plain = experiment(tmp_path, metrics, dataset=data)
    run(tmp_path / "run", replace(plain, metrics=MetricSet(metrics, uncertainty=UncertaintyConfig("blocks", 0.9))))
    values = rows(tmp_path / "run/tables/metrics.csv")
    own = {(row["metric"], row["layer"]): (row["low"], row["high"]) for row in values}
    found = rows(tmp_path / "run/tables/dimension_scales.csv")
    for row in found:
        ends, blocks = (row["low"], row["high"]), int(row["blocks"])
        if (row["block_samples"], row["neighbor_rank"]) == ("240", "2"):
            assert ends == own[row["metric"], row["layer"]]
            assert all(ends)
        elif blocks >= 4:
            expected = stats.t.interval(0.9, blocks - 1, float(row["value"]), float(row["sd"]) / blocks**0.5)
            assert tuple(map(float, ends)) == pytest.approx(expected, rel=1e-9)
        else:
            assert ends == ("", "")
    sizes = {(row["metric"], row["block_samples"], row["neighbor_rank"]) for row in found}
    assert {("id_decimation", n, "2") for n in ("240", "120", "60", "30")} | {("id_gride", "240", "4")} <= sizes
    run(tmp_path / "plain", plain)
    assert not {"low", "high"} & set(rows(tmp_path / "plain/tables/dimension_scales.csv")[0]), "the control"
