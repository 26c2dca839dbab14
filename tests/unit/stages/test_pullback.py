"""Pullback metrics in a run: against plain autograd, by several columns, resumed, and what they refuse."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import Experiment, MetricSet, StoreConfig
from rra_cli.core.store import Store
from rra_cli.data.augment import NoAugment
from rra_cli.data.dataset import Samples
from rra_cli.data.digits import Digits
from rra_cli.data.sinusoid import Sinusoid
from rra_cli.errors import UserError
from rra_cli.methods.barlow_twins import BarlowTwins
from rra_cli.methods.method import Method
from rra_cli.methods.supervised import Supervised
from rra_cli.metrics.metric import Metric
from rra_cli.metrics.pullback import Pullback
from rra_cli.models.convnet import ConvNetSmall
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.pullback.place import Place
from rra_cli.stages import pullback as stage_module
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.pullback import PullbackStage, of_curvature
from rra_cli.stages.pullback_blocks import by_blocks, by_rounding, common_directions
from rra_cli.stages.pullback_notes import naming
from rra_cli.stages.pullback_tables import layer_row, of_directions
from rra_cli.stages.results import Measured
from rra_cli.training.optimizer import SGD

LINE = Pullback(at="line", n=9, n_units=4, unit_points=6, dtype="float64", top=None)
PLANE = Pullback(at="plane", n=5, n_units=3, unit_points=4, dtype="float64", top=None, classes=(7, 6, 1))
GRID = Pullback(at="grid", n=12, bounds=(-1.0, 1.0), dtype="float64", curvature=True)


class Quiet:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def task(self, title: str) -> AbstractContextManager[Any]:
        return nullcontext(lambda done, total, note: None)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def experiment(root: Path, metrics: Mapping[str, Metric], **changes: Any) -> Experiment:
    base = Experiment(
        name="test",
        seed=0,
        dataset=Digits(n_samples=40),
        model=MLP(width=16, depth=2, activation="gelu"),
        method=Supervised(epochs=1, batch_size=64, milestones=1),
        augment=NoAugment(),
        optimizer=SGD(lr=0.1),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=5),
        metrics=MetricSet(metrics),
        store=StoreConfig(str(root / "store")),
    )
    return replace(base, **changes)


def run(wanted: Experiment, folder: Path) -> tuple[dict[str, list[dict[str, str]]], Quiet]:
    reporter = Quiet()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "render", lambda *_, **__: [])  # pictures have tests of their own
        pipeline.run(wanted, folder, reporter, config={})
    paths = (folder / "tables").glob("pullback*.csv")
    tables = {path.stem: list(csv.DictReader(path.read_text().splitlines())) for path in paths}
    return tables, reporter


def stages(wanted: Experiment) -> list[PullbackStage]:
    return [stage for stage in lay_out(wanted).stages if isinstance(stage, PullbackStage)]


def plain_log_volume(module: torch.nn.Module, layer: str, point: np.ndarray) -> float:
    """log sqrt(det g) by torch's own Jacobian and a singular value decomposition."""
    found: list[torch.Tensor] = []
    handle = dict(module.named_modules())[layer].register_forward_hook(lambda _, __, out: found.append(out))

    def of(x: torch.Tensor) -> torch.Tensor:
        found.clear()
        module(x[None])
        return found[0].flatten()

    jacobian = torch.autograd.functional.jacobian(of, torch.from_numpy(point)).flatten(1)
    handle.remove()
    values = torch.linalg.svdvals(jacobian)
    return float(values[values > 1e-10 * values[0]].log().sum())


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, dict[str, list[dict[str, str]]]]:
    """A line and a plane in one run."""
    root = tmp_path_factory.mktemp("two")
    wanted = experiment(root, {"way": LINE, "surface": PLANE})
    return wanted, run(wanted, root / "run")[0]


def test_both_columns_are_in_the_tables_with_both_checkpoints(two: Any) -> None:
    _, tables = two
    keys = {(row["metric"], row["at"], row["checkpoint"], row["layer"]) for row in tables["pullback"]}
    assert keys == {
        (metric, at, checkpoint, "hidden2")
        for metric, at in (("way", "line"), ("surface", "plane"))
        for checkpoint in ("epoch_0000", "last")
    }
    assert {row["metric"]: row["n_units"] for row in tables["pullback"]} == {"way": "4", "surface": "3"}
    count = {(row["metric"], row["checkpoint"]): 0 for row in tables["pullback_points"]}
    for row in tables["pullback_points"]:
        count[row["metric"], row["checkpoint"]] += 1
    assert set(count.values()) == {9 + 3 * 6, 25 + 2 * 10}


def test_volumes_and_predictions_are_those_of_plain_autograd(two: Any) -> None:
    wanted, tables = two
    stage = next(stage for stage in stages(wanted) if stage.key == "surface" and stage.checkpoint.label == "last")
    module = stage.training.load(Store(wanted.store_root), stage.checkpoint).module.double()
    rows = [row for row in tables["pullback_points"] if row["metric"] == "surface" and row["checkpoint"] == "last"]
    points = stage.place.points(0, len(stage.place))
    for at in (0, 7, 24, 30, 44):
        expected = plain_log_volume(module, "hidden2", points[at])
        assert float(rows[at]["log10_volume"]) * np.log(10) == pytest.approx(expected, rel=1e-8)
        p = torch.softmax(module(torch.from_numpy(points[at])[None]), 1)[0].detach().numpy()
        assert rows[at]["prediction"] == str(p.argmax())
        assert float(rows[at]["entropy"]) == pytest.approx(-(p * np.log10(p)).sum(), rel=1e-8)


def test_the_anchors_are_training_samples_of_the_classes(two: Any) -> None:
    wanted, tables = two
    rows = [row for row in tables["pullback_anchors"] if row["metric"] == "surface"]
    samples = wanted.dataset.load("train")
    first = sorted((row for row in rows if row["unit"] == "0"), key=lambda row: row["anchor"])
    assert [row["class"] for row in first] == ["7", "6", "1"]
    for row in first:
        image = samples.images[int(row["sample_id"])]
        assert bytes.fromhex(row["pixels"]) == image.tobytes()
    assert len({row["sample_id"] for row in rows}) == 9, "no sample serves twice"


def test_a_second_run_measures_nothing_and_gives_equal_bytes(two: Any, tmp_path: Path) -> None:
    wanted, _ = two
    assert all(stage.done(Store(wanted.store_root)) for stage in stages(wanted))
    for name in ("one", "other"):
        run(wanted, tmp_path / name)
    for path in (tmp_path / "one" / "tables").glob("pullback*"):
        assert path.read_bytes() == (tmp_path / "other" / "tables" / path.name).read_bytes()


def test_the_boundary_is_a_choice_of_the_reader(two: Any) -> None:
    """Another share of near points reads the stored volumes anew; other points are other volumes."""
    wanted, _ = two

    def keys(metric: Pullback) -> list[str]:
        return [stage.spec.key for stage in stages(replace(wanted, metrics=MetricSet({"way": metric})))]

    assert keys(LINE) == keys(replace(LINE, near=0.1, boundary="margin"))
    assert not set(keys(LINE)) & set(keys(replace(LINE, n=10)))
    assert not set(keys(LINE)) & set(keys(replace(LINE, seed=1)))


def test_nothing_but_the_training_is_stored(two: Any) -> None:
    wanted, _ = two
    found = {path.name for path in wanted.store_root.iterdir() if path.is_dir()}
    assert found <= {"train", "pullback", "refs", "cache", "trash"}


def test_a_killed_measurement_goes_on_with_its_finished_blocks(
    two: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, tables = two
    again = replace(wanted, store=StoreConfig(str(tmp_path / "store")), metrics=MetricSet({"way": LINE}))
    seen: list[tuple[str, int]] = []
    plain = stage_module.by_blocks

    def counted(folder: Path, name: str, n: int, block: Any, progress: Any) -> Any:
        def once(start: int, stop: int, watch: Any) -> Any:
            seen.append((name, start))
            if len(seen) == 3:
                raise KeyboardInterrupt
            return block(start, stop, watch)

        return plain(folder, name, n, once, progress)

    monkeypatch.setattr(stage_module, "by_blocks", counted)
    with pytest.raises(KeyboardInterrupt):
        run(again, tmp_path / "run")
    assert seen == [("volume", 0), ("volume", 8), ("volume", 16)]
    found, _ = run(again, tmp_path / "run")
    assert seen[3:] == [("volume", 16), ("volume", 24), *[("volume", start) for start in (0, 8, 16, 24)]]
    assert found["pullback"] == [row for row in tables["pullback"] if row["metric"] == "way"]


def test_a_plan_grows_with_points_and_layers_and_reads_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Digits, split: str) -> Samples:
        raise AssertionError("data were read")

    monkeypatch.setattr(Digits, "load", refuse)

    def seconds(metric: Pullback) -> float:
        return (
            stages(experiment(tmp_path, {"m": metric}, model=MLP(width=400, depth=2, activation="gelu")))[0]
            .cost()
            .seconds
        )

    one = seconds(replace(LINE, n=500, n_units=1))
    assert seconds(replace(LINE, n=1000, n_units=1)) == pytest.approx(2 * one, rel=0.05)
    assert seconds(replace(LINE, n=500, n_units=1, layers=("hidden*",))) > 1.2 * one
    assert seconds(replace(PLANE, n=40, curvature=True)) > seconds(replace(PLANE, n=40))


# Two-dimensional data


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, dict[str, list[dict[str, str]]]]:
    root = tmp_path_factory.mktemp("flat")
    changes = {"dataset": Sinusoid(), "model": MLP(width=12, depth=1, activation="tanh")}
    wanted = experiment(root, {"grid": GRID, "lines": LINE}, **changes)
    return wanted, run(wanted, root / "run")[0]


def test_a_grid_is_drawn_in_the_datas_own_coordinates(flat: Any) -> None:
    wanted, tables = flat
    rows = [row for row in tables["pullback_points"] if row["metric"] == "grid" and row["checkpoint"] == "last"]
    assert (float(rows[0]["x"]), float(rows[0]["y"])) == (-1.0, -1.0)
    stage = next(stage for stage in stages(wanted) if stage.key == "grid" and stage.checkpoint.label == "last")
    module = stage.training.load(Store(wanted.store_root), stage.checkpoint).module.double()
    for at in (0, 50, 143):
        point = np.array([float(rows[at]["x"]), float(rows[at]["y"])]).reshape(2, 1, 1)
        expected = plain_log_volume(module, "hidden1", point)
        assert float(rows[at]["log10_volume"]) * np.log(10) == pytest.approx(expected, rel=1e-8)
        # The area of the surface is the volume element of a two-dimensional input.
        assert float(rows[at]["log10_area"]) == pytest.approx(float(rows[at]["log10_volume"]), abs=1e-8)


def test_one_grid_is_one_unit_and_has_no_p(flat: Any) -> None:
    _, tables = flat
    row = next(row for row in tables["pullback"] if row["metric"] == "grid" and row["checkpoint"] == "last")
    assert row["n_units"] == "1"
    assert row["difference"] != ""
    assert row["p"] == ""
    assert "not independent" in row["reason"]
    assert float(row["curvature"]) != 0.0


def test_learning_is_told_apart_from_what_was_there_before(flat: Any) -> None:
    _, tables = flat
    rows = {row["checkpoint"]: row for row in tables["pullback"] if row["metric"] == "lines"}
    assert rows["epoch_0000"]["gain"] == ""
    assert rows["last"]["gain"] != ""


def test_a_piecewise_linear_network_has_no_curvature_to_speak_of(tmp_path: Path) -> None:
    changes = {"dataset": Sinusoid(), "model": MLP(width=12, depth=1, activation="relu")}
    tables, _ = run(experiment(tmp_path, {"grid": replace(GRID, n=4)}, **changes), tmp_path / "run")
    assert all("piecewise linear" in row["reason"] for row in tables["pullback"])


@pytest.mark.long
def test_without_a_classifier_a_logistic_regression_predicts(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    method: Method = BarlowTwins(epochs=1, batch_size=64, projector=(8,), milestones=())
    line = replace(LINE, probe_samples=300, layers=("gap",))
    wanted = experiment(tmp_path, {"way": line}, model=ConvNetSmall(width_multiplier=0.25), method=method)
    (stage,) = stages(wanted)
    tables, _ = run(wanted, tmp_path / "run")
    encoder = stage.training.load(Store(wanted.store_root), stage.checkpoint)
    trained = stage.images.trained
    from rra_cli.data.normalise import normalise

    inputs = normalise(trained.images[:300], stage.images.dataset.mean, stage.images.dataset.std)
    with torch.no_grad():
        train = encoder.module(torch.from_numpy(inputs)).numpy()
        asked = encoder.module(torch.from_numpy(stage.place.points(0, len(stage.place))).float()).numpy()
    scaler = StandardScaler().fit(train)
    known = LogisticRegression(C=1.0, max_iter=2000).fit(scaler.transform(train), trained.labels[:300])
    p = known.predict_proba(scaler.transform(asked))
    found = np.array([float(row["entropy"]) for row in tables["pullback_points"]])
    np.testing.assert_allclose(found, -(p * np.log10(p)).sum(axis=1), atol=5e-3)
    assert [row["prediction"] for row in tables["pullback_points"]] == [str(c) for c in p.argmax(axis=1)]


def test_what_was_not_measured_has_no_table(two: Any) -> None:
    """No empty nnls.csv and mu.csv; the two that every run has tell of its layers."""
    wanted, _ = two
    names = {path.stem for path in (wanted.store_root.parent / "run" / "tables").iterdir()}
    assert names == {"layers", "metrics", "pullback", "pullback_points", "pullback_anchors"}


def test_pixels_have_the_same_points_in_another_unit(two: Any) -> None:
    """Interpolation is affine, and so is normalisation."""
    wanted, _ = two
    images = wanted.dataset.load("train")
    normalised, pixels = (
        Place(replace(LINE, space=space), wanted.dataset, images) for space in ("normalised", "pixels")
    )
    a, b = normalised.points(0, 9), pixels.points(0, 9)
    mean, std = (np.reshape(part, (1, -1, 1, 1)) for part in (wanted.dataset.mean, wanted.dataset.std))
    np.testing.assert_allclose(a, (b - mean) / std, atol=1e-6)


def test_pixels_change_volumes_by_the_unit_alone(two: Any, tmp_path: Path) -> None:
    wanted, tables = two
    pixels = replace(wanted, metrics=MetricSet({"way": replace(LINE, space="pixels")}))
    found = run(pixels, tmp_path / "run")[0]["pullback_points"]
    known = [row for row in tables["pullback_points"] if row["metric"] == "way"]
    for one, other in zip(known, found, strict=True):
        shift = float(other["log10_volume"]) - float(one["log10_volume"])
        assert shift == pytest.approx(-16 * np.log10(Digits.std[0]), abs=1e-4), "16 directions"
        assert one["prediction"] == other["prediction"]


# What is refused: one line each


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"metrics": MetricSet({"m": replace(GRID, curvature=False)})}, "at is grid.*64 numbers"),
        ({"metrics": MetricSet({"m": replace(LINE, layers=("hiden1",))})}, "matches no layer.*hidden1"),
        ({"metrics": MetricSet({"m": replace(LINE, classes=(1, "eleven"))})}, "^metrics.m: there is no class 'eleven'"),
        ({"dataset": Sinusoid(), "metrics": MetricSet({"m": replace(PLANE, classes=())})}, "is a plane itself"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(tmp_path: Path, changes: Any, fault: str) -> None:
    with pytest.raises(UserError, match=fault) as caught:
        lay_out(replace(experiment(tmp_path, {"m": LINE}), **changes))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("metric", "fault"),
    [
        (replace(PLANE, classes=(), ids=(3, 3, 3)), "all 3 anchors are the same image"),
        (replace(PLANE, classes=(), ids=(3, 4, 3)), "are the same image"),
        (replace(LINE, ids=(3, 99_999)), "ids names sample 99999"),
        (replace(LINE, n_units=2000), "lines need more samples"),
        (replace(LINE, at="points", n=5000), "only 1,437 such samples"),
    ],
)
def test_samples_that_do_not_fit_are_told_with_the_metric_among_several(
    tmp_path: Path, metric: Pullback, fault: str
) -> None:
    with pytest.raises(UserError, match=rf"^metrics\.m: .*{fault}"):
        lay_out(experiment(tmp_path, {"way": LINE, "m": metric})).check(Store(tmp_path / "store"), Quiet())


def test_a_fault_names_its_metric_once() -> None:
    for said in ("metrics.m.layers names none", "layers names none"):
        with pytest.raises(UserError) as caught, naming("m"):
            raise UserError(said, "name one")
        assert caught.value.message.count("metrics.m") == 1
        assert caught.value.hint == "name one"


def test_collinear_images_span_no_plane() -> None:
    base = np.zeros((3, 1, 2, 2), np.uint8)
    base[1], base[2] = 100, 200
    samples = Samples(base, np.array([0, 1, 2]), np.arange(3))
    with pytest.raises(UserError, match="on one line"):
        _ = Place(replace(PLANE, classes=(), ids=(0, 1, 2), n_units=1), Digits(), samples)


def test_too_little_memory_says_what_to_lower(tmp_path: Path) -> None:
    from rra_cli.config.experiment import Runtime

    wanted = experiment(tmp_path, {"way": LINE}, runtime=Runtime(memory="10KB"))
    with pytest.raises(UserError, match=r"^metrics\.way: .*may be taken") as caught:
        run(wanted, tmp_path / "run")
    assert caught.value.hint is not None
    assert "limit" in caught.value.hint


def test_a_constant_layer_has_no_volume_but_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = PullbackStage.maps

    def constant(self: PullbackStage, encoder: Any, *rest: Any, **more: Any) -> Any:
        with torch.no_grad():
            encoder.module.hidden1.linear.weight.zero_()
        return original(self, encoder, *rest, **more)

    wanted = experiment(tmp_path, {"way": LINE}, model=MLP(width=16, depth=1, activation="gelu"))
    layout = lay_out(wanted)
    monkeypatch.setattr(PullbackStage, "maps", constant)
    assert layout.stages
    tables, reporter = run(wanted, tmp_path / "run")
    assert {row["log10_volume"] for row in tables["pullback_points"]} == {""}
    assert all("rank 0" in row["reason"] for row in tables["pullback"])
    assert any("rank 0" in warning for warning in reporter.warnings)


# Parts


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


# How many directions


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
