"""Pullback metrics in a run: against plain autograd, by several columns, resumed, drawn and planned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pullback_runs import GRID, LINE, PLANE, experiment, run, stages

from rra_cli.config.experiment import Experiment, MetricSet, StoreConfig
from rra_cli.core.store import Store
from rra_cli.data.dataset import Samples
from rra_cli.data.digits import Digits
from rra_cli.data.sinusoid import Sinusoid
from rra_cli.methods.barlow_twins import BarlowTwins
from rra_cli.methods.method import Method
from rra_cli.metrics.pullback import Pullback
from rra_cli.models.convnet import ConvNetSmall
from rra_cli.models.mlp import MLP
from rra_cli.pullback.place import Place
from rra_cli.stages.pullback import stage as stage_module


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
