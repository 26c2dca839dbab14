"""Altered copies as stages: what is captured, shared and freed, and what the table says of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from altered import COPIES, FLIP, FREED, METRICS, NOISE, Watcher, experiment, rows, run, with_copies
from scipy import stats

from rra_cli import pipeline
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.config.uncertainty import UncertaintyConfig
from rra_cli.core.store import Store
from rra_cli.data.alterations.alteration import NoAlteration
from rra_cli.data.alterations.labels import ShuffleLabels
from rra_cli.data.alterations.noise import Noise
from rra_cli.data.digits import Digits
from rra_cli.methods.supervised import Supervised
from rra_cli.metrics.label_overlap import LabelOverlap
from rra_cli.neighbors.exact import ExactEngine, exact_neighbors
from rra_cli.stages.invariance import CopyMeasure, Invariance
from rra_cli.stages.lay_out import lay_out


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    return experiment(tmp_path)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Path]:
    """A plain experiment in whose store noisy and mirrored copies were measured, and the tables of that run."""
    plain = experiment(tmp_path_factory.mktemp("studied"))
    return plain, run(with_copies(plain, noise=NOISE, flip=FLIP))[0]


def test_copies_are_keyed_by_the_neighbours_that_are_read(base: Experiment) -> None:
    """One stored graph serves every smaller k, so its key does not tell them apart."""
    few, many = (
        {stage.point.layer: stage.spec.key for stage in lay_out(chosen).stages if isinstance(stage, CopyMeasure)}
        for chosen in (with_copies(replace(base, neighbors=ExactEngine(k=k)), noise=NOISE) for k in (3, 5))
    )
    assert few.keys() == many.keys()
    assert not set(few.values()) & set(many.values())


@pytest.mark.parametrize("lacking", [0, 1])
def test_where_the_samples_or_their_copies_cannot_be_searched_the_reason_is_told(lacking: int) -> None:
    x = np.random.RandomState(0).normal(size=(20, 3))

    def graph(reason: str) -> Any:
        point, found = SimpleNamespace(k=5, data_title="x"), None if reason else exact_neighbors(x, 5)
        return SimpleNamespace(
            point=point, read=lambda context, k: (found, reason, 3), open=lambda context: (x, reason)
        )

    sides = [graph("row 3 is NaN" if side == lacking else "") for side in (0, 1)]
    context: Any = SimpleNamespace(reporter=Watcher())
    found = CopyMeasure(*sides).measure(context, Path())
    assert {each.figures["metric"] for each in found} == COPIES
    assert {(each.figures["value"], each.figures["reason"]) for each in found} == {(None, "row 3 is NaN")}
    whole = CopyMeasure(graph(""), graph("")).measure(context, Path())
    assert {each.figures["reason"] for each in whole} == {""}, "the control"


def test_what_independent_samples_tell_has_intervals_on_request(studied: tuple[Experiment, Path]) -> None:
    """A cosine is of a sample and its copy alone; neighbours are shared, and so are the samples of random pairs."""
    plain, before = studied
    metrics = replace(plain.metrics, uncertainty=UncertaintyConfig("blocks", 0.9))
    asked = replace(with_copies(plain, noise=NOISE, flip=FLIP), metrics=metrics)
    found = rows(run(asked, "intervals")[0] / "invariance.csv")
    for row in found:
        ends = (row.pop("low"), row.pop("high"))
        if row["metric"] == "copy_cosine":
            value, error, n = float(row["value"]), float(row["std_error"]), int(row["n_used"])
            low, high = stats.t.interval(0.9, n - 1, value, error)
            assert tuple(map(float, ends)) == pytest.approx((low, min(high, 1.0)), rel=1e-9)
        else:
            assert ends == ("", "")
    assert found == rows(before / "invariance.csv"), "nothing else changes"


def test_every_layer_is_held_against_its_copies(studied: tuple[Experiment, Path]) -> None:
    _, tables = studied
    found = rows(tables / "invariance.csv")
    layers = {row["layer"] for row in rows(tables / "layers.csv")}
    assert {row["layer"] for row in found} == layers
    assert {(row["alteration"], row["kind"], row["strength"]) for row in found} == {
        ("noise", "noise", "0.02"),
        ("flip", "augment", ""),
    }
    assert {row["metric"] for row in found} == {*COPIES, *METRICS}
    assert len(found) == len(layers) * 2 * 7
    own = {(row["layer"], row["metric"]): row["value"] for row in rows(tables / "metrics.csv")}
    for row in found:
        if row["metric"] in METRICS:
            assert row["clean"] == own[row["layer"], row["metric"]]
        else:
            assert row["clean"] == ("1.0" if row["metric"] in ("copy_nnls", "copy_overlap", "copy_cosine") else "0.0")
        searched = row["metric"] in ("copy_nnls", "copy_overlap", *METRICS)
        assert (row["engine"], row["recall"]) == (("exact", "1.0") if searched else ("", "")), (
            "distances need no search"
        )


def test_mirrored_images_keep_all_distances_at_the_input(studied: tuple[Experiment, Path]) -> None:
    """Flipping permutes the pixels of every image alike: at layer 0 each neighbourhood is as it was, and ID and NNCS
    are, although the copies lie elsewhere. Noise, the negative control, mixes the neighbourhoods.
    """
    found = rows(studied[1] / "invariance.csv")
    at_0 = {(row["alteration"], row["metric"]): row for row in found if row["layer"] == "input"}
    assert float(at_0["flip", "copy_nnls"]["value"]) > 0.999
    assert float(at_0["flip", "copy_distance"]["value"]) > 0.5
    for metric in METRICS:
        assert float(at_0["flip", metric]["value"]) == pytest.approx(float(at_0["flip", metric]["clean"]), rel=1e-4)
    assert float(at_0["noise", "copy_nnls"]["value"]) < 0.9


def test_a_run_of_the_altered_set_finds_what_the_study_made(studied: tuple[Experiment, Path]) -> None:
    """The same captures, graphs and metrics under the same keys, and so the same values."""
    plain, study = studied
    plan = pipeline.plan(replace(plain, alter=NOISE))
    assert {row.state for row in plan.rows if row.stage in ("capture", "graph")} == {"cached"}
    altered, watcher = run(replace(plain, alter=NOISE), "altered")
    assert not watcher.begun("capture")
    of_set = {(row["layer"], row["metric"]): row["value"] for row in rows(altered / "metrics.csv")}
    of_study = {
        (row["layer"], row["metric"]): row["value"]
        for row in rows(study / "invariance.csv")
        if row["alteration"] == "noise" and row["metric"] not in COPIES
    }
    assert of_study == of_set


def test_equal_copies_are_the_samples(base: Experiment) -> None:
    """Where nothing is altered there is nothing to capture, and the metrics are those of the run."""
    chosen = with_copies(base, none=NoAlteration(), quiet=Noise(level=0.0), labels=ShuffleLabels(level=0.5))
    assert len(lay_out(chosen).captures) == len(lay_out(base).captures)
    tables, _ = run(chosen)
    found = rows(tables / "invariance.csv")
    assert {row["metric"] for row in found} == set(METRICS)
    for row in found:
        assert (row["value"] == row["clean"]) == (row["alteration"] != "labels" or row["metric"] != "nncs")


def test_shuffled_labels_take_purity_down_as_they_must(base: Experiment) -> None:
    """Both of a pair are unmoved with probability (1 - a)^2; all other pairs agree by chance."""
    chosen = with_copies(replace(base, dataset=Digits(splits=("test",))), half=ShuffleLabels(level=0.5))
    for row in rows(run(chosen)[0] / "invariance.csv"):
        if row["metric"] == "nncs":
            expected = 0.25 * float(row["clean"]) + 0.75 * float(row["chance"])
            assert float(row["value"]) == pytest.approx(expected, abs=0.03)


@pytest.mark.long
def test_layers_are_captured_once_and_gone_at_the_end(base: Experiment) -> None:
    """With `keep=until_measured` the samples stay until their last copies were held against them."""
    chosen = replace(with_copies(base, noise=NOISE, flip=FLIP), activations=FREED)
    chosen = replace(chosen, method=Supervised(epochs=1, batch_size=256, milestones=(0,)))
    freed, watcher = run(chosen)
    # Layer 0 of the samples and of two copies; two checkpoints, each the samples and two copies.
    assert len(watcher.begun("capture")) == 3 + 2 * 3
    store = Store(chosen.store_root)
    assert not [spec for capture in lay_out(chosen).captures for spec in capture.specs if store.find(spec)]
    kept, _ = run(replace(chosen, activations=ActivationsConfig(), store=StoreConfig(f"{chosen.store_root}2")), "kept")
    assert (freed / "invariance.csv").read_bytes() == (kept / "invariance.csv").read_bytes()


def test_the_disk_holds_the_samples_and_one_kind_of_copies(base: Experiment) -> None:
    """A plan's peak: twice the layers, not four times."""
    several = {f"noise{at}": Noise(level=0.01 * at) for at in (1, 2, 3)}
    one, three = (
        pipeline.plan(replace(with_copies(base, **some), activations=FREED))
        for some in ({"noise1": several["noise1"]}, several)
    )
    layers = sum(capture.n_bytes for capture in lay_out(base).captures)
    everything = pipeline.plan(with_copies(base, **several)).total.disk_bytes
    assert everything - three.total.disk_bytes == 2 * layers
    others = sum(row.disk_bytes for row in three.rows if row.stage != "capture")
    assert three.total.disk_bytes == others + 2 * layers
    assert one.total.disk_bytes < three.total.disk_bytes


def test_a_run_goes_on_at_the_layer_that_it_had_reached(base: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = replace(with_copies(base, noise=NOISE), activations=FREED)
    measure, reached = CopyMeasure.measure, list[str]()

    def stopped(stage: CopyMeasure, *arguments: object) -> object:
        if len(reached) == 1:
            raise KeyboardInterrupt
        reached.append(stage.point.layer)
        return measure(stage, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(CopyMeasure, "measure", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(chosen)
    reached.clear()
    monkeypatch.setattr(CopyMeasure, "measure", lambda *given: reached.append(given[0].point.layer) or measure(*given))
    tables, _ = run(chosen)
    assert "input" not in reached
    whole, _ = run(replace(chosen, store=StoreConfig(f"{chosen.store_root}2")), "whole")
    assert (tables / "invariance.csv").read_bytes() == (whole / "invariance.csv").read_bytes()


def test_what_is_seen_in_the_pictures_is_no_metric_of_altered_sets(base: Experiment) -> None:
    chosen = replace(base, metrics=MetricSet({**METRICS, "light": LabelOverlap(labelling="luminance")}))
    (study,) = (study for study in lay_out(with_copies(chosen, noise=NOISE)).studies if isinstance(study, Invariance))
    assert [own.key for part in study.parts for own, _ in part.metrics] == list(METRICS)
