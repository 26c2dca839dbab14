"""Intervals of metrics of activations and of probes in a run: their columns, what they rest on, that nothing else
changes, and what decides them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from test_study_keys import folder
from test_uncertainty_in_a_run import Notes, experiment, rows, run

from rra_cli import pipeline
from rra_cli.config.experiment import ActivationsConfig, MetricSet
from rra_cli.config.uncertainty import UncertaintyConfig
from rra_cli.core.store import Store
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.digits import Digits
from rra_cli.metrics.canonical import CCA, SVCCA
from rra_cli.metrics.hsic import CKA, HSIC, cka_pairs
from rra_cli.metrics.jackknife import of_correlation, spread, wilson
from rra_cli.metrics.linear_probe import LogisticProbe
from rra_cli.metrics.metric import Metric
from rra_cli.metrics.pca_dimension import PCADimension
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.metric_costs import own_spread
from rra_cli.stages.results import Measured
from rra_cli.stages.transfer import TransferMeasure
from rra_cli.stages.uncertainty.own_spreads import OwnSpread
from rra_cli.stages.uncertainty.study import Uncertainty, uncertainty_of

__all__ = ["folder"]
METRICS: dict[str, Metric] = {
    "hsic": HSIC(),
    "cka": CKA(),
    "cka_debiased": CKA(estimator="unbiased"),
    "cca": CCA(),
    "svcca": SVCCA(),
    "pca": PCADimension(),
    "ratio": PCADimension(definition="participation_ratio"),
}
ASKED = UncertaintyConfig(intervals="blocks")


def of_files(tmp_path: Path, layers: Path, uncertainty: UncertaintyConfig = ASKED, **metrics: Metric) -> object:
    files = ActivationsConfig(path=str(layers))
    return experiment(
        tmp_path,
        dataset=ActivationFiles(),
        activations=files,
        metrics=MetricSet(metrics or METRICS, uncertainty=uncertainty),
    )


def test_columns_are_filled_and_nothing_else_changes(tmp_path: Path, folder: Path) -> None:
    before = run(of_files(tmp_path, folder, UncertaintyConfig()), tmp_path / "plain")  # type: ignore[arg-type]
    after = run(of_files(tmp_path, folder), tmp_path / "run")  # type: ignore[arg-type]
    for name in ("metrics", "pairs"):
        old, new = rows(before, name), rows(after, name)
        assert list(new[0]) == [*old[0], "low", "high"]
        for one, other in zip(old, new, strict=True):
            assert {**other, "std_error": one["std_error"]} == {**one, "low": other["low"], "high": other["high"]}
            assert float(other["low"]) <= float(other["value"]) <= float(other["high"]), other["metric"]
            assert (other["std_error"] == "") == (other["metric"] == "pca")
    for row in rows(after, "pairs"):
        if row["layer_a"] == row["layer_b"] and row["metric"] != "hsic":
            assert (float(row["low"]), float(row["high"]), float(row["std_error"])) == (1.0, 1.0, 0.0)
    x, y = (np.load(folder / f"{name}.npy") for name in ("00_a", "01_b"))
    without = [cka_pairs([np.delete(x, at, 0), np.delete(y, at, 0)])[0, 1].value for at in range(200)]
    expected = spread(np.array(without), 200)
    for row in (row for row in rows(after, "pairs") if row["metric"] == "cka" and row["layer_a"] != row["layer_b"]):
        assert float(row["std_error"]) == pytest.approx(expected.std_error)
        ends = of_correlation(float(row["value"]), expected.reach(0.95), 0.0)
        assert (float(row["low"]), float(row["high"])) == pytest.approx(ends)


@pytest.mark.long
def test_the_level_is_chosen_without_measuring_again(tmp_path: Path, folder: Path) -> None:
    narrow = run(of_files(tmp_path, folder, replace(ASKED, interval_level=0.5)), tmp_path / "narrow")  # type: ignore[arg-type]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store" / "spreads").rglob("*.npy")}
    assert before
    wide = run(of_files(tmp_path, folder, replace(ASKED, interval_level=0.99)), tmp_path / "wide")  # type: ignore[arg-type]
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "store" / "spreads").rglob("*.npy")}
    for one, other in zip(rows(narrow, "pairs"), rows(wide, "pairs"), strict=True):
        if one["low"] != one["high"]:
            assert float(other["low"]) < float(one["low"]) < float(one["high"]) < float(other["high"])


def test_kernels_share_a_pass_and_what_decides_a_spread_decides_its_key(tmp_path: Path, folder: Path) -> None:
    def keys(**metrics: Metric) -> dict[str, str]:
        study = uncertainty_of(lay_out(of_files(tmp_path, folder, **metrics)))  # type: ignore[arg-type]
        assert study is not None
        return {f"{of.key} {of.label}": stage.spec.key for of, stage in study.own.items()}

    before = keys()
    # Three of kernels in one, CCA, SVCCA, and two of each of two layers.
    assert (len(before), len(set(before.values()))) == (9, 7)
    now = keys(**METRICS)
    assert now == before
    now = keys(**{**METRICS, "svcca": SVCCA(share=0.9), "cka_debiased": HSIC(estimator="unbiased")})
    assert {name.split()[0] for name in before if now[name] != before[name]} == {"svcca"}
    x = np.load(folder / "00_a.npy")
    np.save(folder / "00_a.npy", 2 * x)
    now = keys()
    # PCA of the other layer alone is what it was.
    assert sum(key in set(now.values()) for key in set(before.values())) == 2


def test_where_there_is_none_a_note_says_why(tmp_path: Path, folder: Path) -> None:
    notes, heavy = Notes(), np.load(folder / "01_b.npy")
    heavy[3] *= 50.0
    np.save(folder / "01_b.npy", heavy)
    np.save(folder / "02_c.npy", np.random.default_rng(0).normal(size=(200, 250)).astype(np.float32))
    asked = of_files(tmp_path, folder, hsic=HSIC(), cka=CKA(), cca=CCA())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "render", lambda *args, **keywords: [])
        pipeline.run(asked, tmp_path / "run", notes, config={})  # type: ignore[arg-type]
    told = [note for note in notes.notes if "no interval" in note]
    assert len(told) == 4, "of cca for two reasons"
    why = "as many directions as samples: some correlations are 1 whatever the layers are"
    assert any(note.startswith("cca of 3 layers") and f"no interval of 4 of 9 pairs, {why}" in note for note in told)
    found = rows(tmp_path / "run" / "tables", "pairs")
    for metric in ("hsic", "cka"):
        empty = [{row["layer_a"], row["layer_b"]} for row in found if row["metric"] == metric and not row["low"]]
        assert empty
        assert all("b" in of for of in empty), "of the layer with one sample far off"
        (note,) = (note for note in told if note.startswith(f"{metric} of 3 layers"))
        assert f"no interval of {len(empty)} of 9 pairs, fewer than 10 samples decide" in note
    for row in (row for row in found if row["metric"] == "cca" and "c" in (row["layer_a"], row["layer_b"])):
        assert (row["low"] == "") == (row["layer_a"] != row["layer_b"])


def test_too_few_samples_are_noted(tmp_path: Path, folder: Path) -> None:
    for path in folder.glob("*.npy"):
        np.save(path, np.load(path)[:49])
    layout = lay_out(of_files(tmp_path, folder, pca=PCADimension()))  # type: ignore[arg-type]
    assert "no intervals of 49 samples: 50 samples are needed at least" in layout.notes
    study = uncertainty_of(layout)
    assert study is not None
    assert not study.own


def test_accuracies_have_wilsons_interval() -> None:
    of, store = TransferMeasure.__new__(TransferMeasure), Store(Path("unread"))
    results = [Measured({"value": value, "n_used": n}, {}) for value, n in ((0.9, 40), (1.0, 70), (None, 0))]
    found = Uncertainty(("low", "high"), 0.9).told(of, results, store)
    for place, (right, n) in enumerate(((36, 40), (70, 70))):
        expected = stats.binomtest(right, n).proportion_ci(0.9, "wilson")
        figures = found[place].figures
        assert (figures["low"], figures["high"]) == pytest.approx((expected.low, expected.high))
    assert (found[2].figures["low"], found[2].figures["high"]) == (None, None)
    (without,) = Uncertainty(("p_value",), 0.9).told(of, results[:1], store)
    assert without.figures == {"value": 0.9, "n_used": 40, "p_value": None}


@pytest.mark.long
def test_probes_of_a_run_have_columns(tmp_path: Path) -> None:
    asked = experiment(
        tmp_path,
        dataset=Digits(n_samples=120, splits=("train", "test")),
        metrics=MetricSet({"probe": LogisticProbe()}, uncertainty=ASKED),
    )
    found = [row for row in rows(run(asked, tmp_path / "run"), "metrics") if row["metric"] == "probe"]
    assert found
    for row in found:
        expected = wilson(float(row["value"]), int(row["n_used"]), 0.95)
        assert (float(row["low"]), float(row["high"])) == pytest.approx(expected)


def test_costs_grow_with_what_is_read_and_not_with_n_squared_in_memory() -> None:
    for metric in (HSIC(), CKA(), PCADimension(definition="participation_ratio")):
        small, large = (own_spread(metric, n, [500, 300]) for n in (1000, 50_000))
        assert large.memory_bytes < small.memory_bytes + 50_000 * 100
        assert large.seconds > 5 * small.seconds
    small, large = (own_spread(PCADimension(), n, [500]) for n in (1000, 50_000))
    assert (small.memory_bytes, large.memory_bytes) == (large.memory_bytes, small.memory_bytes)
    assert own_spread(SVCCA(), 1000, [50, 60]).seconds > own_spread(CCA(), 1000, [50, 60]).seconds / 4
    assert OwnSpread.name == "spreads"
