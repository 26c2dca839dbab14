"""Altered copies as stages: what is captured, keyed, shared, freed and refused, and what the table says of them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.core.progress import Progress, silent
from rra_cli.core.store import Store
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.alterations import draws
from rra_cli.data.alterations.alteration import Alteration, NoAlteration, Seen
from rra_cli.data.alterations.augmented import Augmented
from rra_cli.data.alterations.labels import ShuffleLabels
from rra_cli.data.alterations.noise import Noise
from rra_cli.data.augment import NoAugment
from rra_cli.data.augment_views import RandomViews
from rra_cli.data.digits import Digits
from rra_cli.errors import UserError
from rra_cli.methods.none import NoTraining
from rra_cli.methods.supervised import Supervised
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.label_overlap import LabelOverlap
from rra_cli.metrics.metric import Metric
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine, exact_neighbors
from rra_cli.stages.images import Images
from rra_cli.stages.invariance import CopyMeasure, Invariance
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.layout import Layout
from rra_cli.training.optimizer import SGD

FREED = ActivationsConfig(keep="until_measured")
NOISE = Noise(level=0.02)  # digits use a 16th of the range of pixels
FLIP = Augmented(augment=RandomViews(flip=1.0))
METRICS: dict[str, Metric] = {"id_twonn": TwoNN(), "nncs": NNCS()}
COPIES = {"copy_nnls", "copy_overlap", "copy_distance", "copy_distance_median", "copy_cosine"}


@dataclass
class Watcher:
    """A reporter that remembers the tasks and notes."""

    told: list[str] = field(default_factory=list)

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        self.told.append(title)
        yield silent

    def note(self, message: str) -> None:
        self.told.append(message)

    def warn(self, message: str) -> None:
        self.told.append(message)

    def begun(self, what: str) -> list[str]:
        return [told for told in self.told if told.startswith(what)]


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    return experiment(tmp_path)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Path]:
    """A plain experiment in whose store noisy and mirrored copies were measured, and the tables of that run."""
    plain = experiment(tmp_path_factory.mktemp("studied"))
    return plain, run(with_copies(plain, noise=NOISE, flip=FLIP))[0]


def experiment(root: Path) -> Experiment:
    return Experiment(
        name="test",
        seed=0,
        dataset=Digits(n_samples=120, splits=("test",)),
        model=MLP(width=16, depth=1),
        method=NoTraining(),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=5),
        metrics=MetricSet(METRICS),
        activations=ActivationsConfig(),
        store=StoreConfig(str(root / "store")),
    )


def with_copies(base: Experiment, **alterations: Alteration) -> Experiment:
    return replace(base, invariance=alterations)


def run(chosen: Experiment, name: str = "run") -> tuple[Path, Watcher]:
    """The tables of a run without plots, and what was told."""
    folder, watcher = Path(chosen.store_root).parent / name, Watcher()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "render", lambda *args, **keywords: [])
        pipeline.run(chosen, folder, watcher, config={"name": name})
    return folder / "tables", watcher


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def captured(layout: Layout) -> dict[str, str]:
    """Layer -> key of its activations."""
    return {graph.point.layer: graph.point.activations.key for graph in layout.graphs}


# alter


def test_altered_images_have_keys_of_their_own_layer_0_included_and_the_training_has_not(base: Experiment) -> None:
    plain, noisy = lay_out(base), lay_out(replace(base, alter=NOISE))
    assert not set(captured(plain).values()) & set(captured(noisy).values())
    assert plain.training is not None
    assert noisy.training is not None
    assert plain.training.spec == noisy.training.spec
    louder, other = (lay_out(replace(base, alter=replace(NOISE, **some))) for some in ({"level": 0.03}, {"seed": 1}))
    assert len({tuple(captured(layout).values()) for layout in (plain, noisy, louder, other)}) == 4


def test_what_alters_nothing_has_the_keys_of_the_plain_run(base: Experiment) -> None:
    for nothing in (NoAlteration(), Noise(level=0.0), Augmented(), ShuffleLabels(level=0.0)):
        layout = lay_out(replace(base, alter=nothing))
        assert captured(layout) == captured(lay_out(base))
        assert [stage.spec for stage in layout.layers] == [stage.spec for stage in lay_out(base).layers]
        assert not [note for note in layout.notes if "altered" in note]


def test_shuffled_labels_change_what_reads_labels_alone(base: Experiment) -> None:
    plain, shuffled = lay_out(base), lay_out(replace(base, alter=ShuffleLabels()))
    assert captured(plain) == captured(shuffled)
    same = {one.key: one.spec == other.spec for one, other in zip(plain.layers, shuffled.layers, strict=True)}
    assert same == {"id_twonn": True, "nncs": False}
    assert shuffled.notes == ["the measured labels are altered (shuffle_labels 1); training sees none of it"]


def test_the_tables_of_an_altered_run_say_so(base: Experiment) -> None:
    plain, _ = run(base, "plain")
    noisy, watcher = run(replace(base, alter=NOISE), "noisy")
    assert {row["alter"] for name in ("layers", "metrics", "mu") for row in rows(noisy / f"{name}.csv")} == {
        "noise 0.02"
    }
    assert not [row for row in rows(plain / "layers.csv") if "alter" in row]
    assert "the measured images are altered (noise 0.02); training sees none of it" in watcher.told
    assert rows(plain / "layers.csv")[0]["id_twonn"] != rows(noisy / "layers.csv")[0]["id_twonn"]


def test_samples_are_the_same_whatever_alters_them(base: Experiment) -> None:
    """So that `rra compare` can hold the graphs of both runs against each other."""
    plain, noisy = (lay_out(replace(base, alter=some)).data for some in (NoAlteration(), NOISE))
    assert plain.samples_identity("test") == noisy.samples_identity("test")  # type: ignore[union-attr]
    assert plain.measured_identity("test") != noisy.measured_identity("test")  # type: ignore[union-attr]


def test_a_batch_has_the_noise_of_its_own_samples_before_it_is_normalised() -> None:
    """clip(x / 255 + level ε), then (· - mean) / sd; batches that begin anywhere have the ε of their samples."""
    data = Digits(n_samples=30, splits=("test",))
    images = Images(data, alteration=NOISE)
    samples, own = images.measured("test"), slice(10, 15)
    noise = draws.normal(Seen("test", samples.ids[own]), NOISE.seed, (1, 8, 8))
    expected = (np.clip(samples.images[own] / 255 + 0.02 * noise, 0, 1) - data.mean[0]) / data.std[0]
    np.testing.assert_allclose(images.batches("test", 10, 15, "cpu").numpy(), expected, atol=1e-4)


# invariance


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


def test_samples_are_not_altered_twice(base: Experiment) -> None:
    with pytest.raises(
        UserError, match=r"invariance compares samples with their altered copies \(flip\), but alter=noise"
    ):
        lay_out(with_copies(replace(base, alter=NOISE), flip=FLIP))


@pytest.mark.parametrize("key", ["alter", "invariance"])
def test_a_users_layers_cannot_be_altered(base: Experiment, tmp_path: Path, key: str) -> None:
    folder = tmp_path / "layers"
    folder.mkdir()
    np.save(folder / "000_x.npy", np.random.RandomState(0).normal(size=(50, 3)))
    files = replace(base, dataset=ActivationFiles(), activations=ActivationsConfig(path=str(folder)))
    altered = replace(files, alter=NOISE) if key == "alter" else with_copies(files, noise=NOISE)
    with pytest.raises(UserError, match=f"{key} alters images on their way into a network, but dataset=activations"):
        lay_out(altered)
