"""Several pooling scales at once: what is built once, what tables say, and that old keys stay what they were."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rra_cli import pipeline
from rra_cli.activations.pooling import NAMES, Pooling, pool_array
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.core.progress import silent
from rra_cli.core.store import Store
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.augment import NoAugment
from rra_cli.data.digits import Digits
from rra_cli.methods.none import NoTraining
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS, nnls
from rra_cli.metrics.pca_dimension import PCADimension
from rra_cli.models.convnet import ConvNetSmall
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.layout import Layout
from rra_cli.stages.scale_tables import ScaleValue, scale_tables
from rra_cli.training.optimizer import SGD

N, K = 50, 5
NINE = {name: Pooling.named(name) for name in NAMES if name not in ("cls", "mean", "last")}


class Quiet:
    """A reporter that shows nothing."""

    def task(self, title: str) -> Any:
        return nullcontext(silent)

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


def experiment(root: Path, pooling: dict[str, Pooling] = NINE, **changes: Any) -> Experiment:
    """Maps of 8, 4 and 2 places a side, then two flat layers."""
    base = Experiment(
        name="toy",
        seed=0,
        dataset=Digits(n_samples=N, splits=("test",)),
        model=ConvNetSmall(width_multiplier=0.25, depth_multiplier=0.5),
        method=NoTraining(),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling=pooling,
        neighbors=ExactEngine(k=K),
        metrics=MetricSet({"id_twonn": TwoNN(), "nncs": NNCS(), "nnls": NNLS()}),
        store=StoreConfig(str(root / "store")),
    )
    return replace(base, **changes)


def run(chosen: Experiment, folder: Path) -> Path:
    """The folder of tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "render", lambda *args, **keywords: [])
        pipeline.run(chosen, folder, Quiet(), config={})  # type: ignore[arg-type]
    return folder / "tables"


def rows(path: Path, **where: str) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[name] == value for name, value in where.items())]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scales")


@pytest.fixture(scope="module")
def tables(root: Path) -> Path:
    return run(experiment(root), root / "run")


# Every digit has a pixel of the largest value, so their maxima over the whole image are one and the same.
COLLAPSED = {("input", "max", "8"), ("input", "max", "0")}


def values_of(tables: Path, metric: str) -> dict[tuple[str, str, str], float]:
    found = rows(tables / "metrics.csv", metric=metric)
    return {(row["layer"], row["pool"], row["scale"]): float(row["value"] or "nan") for row in found}


def graph_keys(layout: Layout) -> dict[tuple[str, str], str]:
    return {(graph.point.layer, graph.point.pooling.title): graph.point.graph.key for graph in layout.graphs}


def test_equal_captures_and_graphs_are_there_once(root: Path) -> None:
    layout = lay_out(experiment(root))
    captured = Counter(capture.point.layer for capture in layout.captures)
    assert captured == {
        **{"input": 7, "stage1.conv1": 7},  # 8 x 8: a window of 8 is the whole map
        **{"stage2.conv1": 5, "stage3.conv1": 3},  # 4 x 4 and 2 x 2
        **{"gap": 1, "logits": 1},
    }
    assert len(layout.graphs) == 9 * 6
    assert len({graph.point.graph.key for graph in layout.graphs}) == len(layout.captures) == 24
    assert len({capture.capture_pass.spec.key for capture in layout.captures}) == 2, "the images, and one forward pass"


def test_scales_leave_what_was_there_as_it_was(root: Path) -> None:
    alone, all_of_them = lay_out(experiment(root, {"none": Pooling()})), lay_out(experiment(root))
    assert graph_keys(alone).items() <= graph_keys(all_of_them).items()
    measured = {stage.spec.key for stage in all_of_them.targets}
    assert {stage.spec.key for stage in alone.targets} <= measured
    two = lay_out(experiment(root, {"none": Pooling(), "mean": Pooling("mean")}))
    assert not two.across, "inter-scale similarity is one of windows over maps"
    assert len({graph.point.graph.key for graph in two.graphs}) == len(two.graphs), "token poolings have their own keys"


def test_the_unpooled_layers_need_not_be_there(root: Path) -> None:
    layout = lay_out(experiment(root, {"avg4": Pooling("avg", 4)}))
    assert not layout.across, "nothing to compare pooled layers with"
    assert {capture.point.pooling for capture in layout.captures} == {Pooling("avg", 4)}
    assert max(capture.n_features for capture in layout.captures) == 16, "4 channels of 8 x 8 become 2 x 2"
    assert graph_keys(layout).items() <= graph_keys(lay_out(experiment(root))).items()


@pytest.mark.long
def test_every_metric_at_every_scale_and_pooling_of_the_dump_is_the_same(root: Path, tables: Path) -> None:
    layout, store = lay_out(experiment(root)), Store(root / "store")
    dump = {c.point.layer: c for c in layout.captures if c.point.pooling == Pooling()}
    for capture in layout.captures:
        whole = dump[capture.point.layer]
        values = np.asarray(whole.open(store)[0]).reshape(N, *whole.shape)
        assert np.asarray(capture.open(store)[0]).tobytes() == pool_array(values, capture.point.pooling).tobytes()
    found = rows(tables / "layers.csv")
    assert len(found) == 54
    empty = {(row["layer"], row["pool"], row["scale"]) for row in found if not (row["id_twonn"] and row["nncs"])}
    assert empty == COLLAPSED
    by_place = {(row["layer"], row["pool"], row["scale"]): row for row in found}
    one, other = by_place["stage3.conv1", "avg", "0"], by_place["gap", "none", "1"]
    assert float(one["id_twonn"]) == pytest.approx(float(other["id_twonn"]), rel=1e-5), "the network's own pooling"
    assert one["nncs"] == other["nncs"]
    assert by_place["stage1.conv1", "avg", "2"]["n_features"] == "64"
    assert by_place["stage3.conv1", "max", "8"]["n_features"] == "16"


def test_similarity_across_scales_is_that_of_the_graphs(root: Path, tables: Path) -> None:
    layout, store = lay_out(experiment(root)), Store(root / "store")
    graphs = {(g.point.layer, g.point.pooling): g.load(store, K)[0] for g in layout.graphs}
    across = rows(tables / "nnls.csv", pool_a="none")
    assert len(across) == 9 * 36, "unpooled with unpooled, and with eight scales"
    values = {}
    for row in across:
        pooling = Pooling(row["pool_b"], int(row["scale_b"]))  # type: ignore[arg-type]
        one, other = graphs[row["layer_a"], Pooling()], graphs[row["layer_b"], pooling]
        if (row["layer_b"], row["pool_b"], row["scale_b"]) in COLLAPSED:
            assert (row["nnls"], row["reason"] != "") == ("", True)
            continue
        assert one is not None
        assert other is not None
        values[row["layer_a"], row["layer_b"], pooling] = float(row["nnls"])
        assert float(row["nnls"]) == nnls(one, other).value
    assert all(values["gap", "gap", pooling] == 1.0 for pooling in NINE.values())
    coarse = Pooling("avg", 4)
    assert values["stage1.conv1", "stage2.conv1", coarse] != values["stage2.conv1", "stage1.conv1", coarse]
    assert values["stage1.conv1", "stage1.conv1", coarse] < 1.0
    assert all(row["pool_a"] in ("none", row["pool_b"]) for row in rows(tables / "nnls.csv"))


def test_the_table_of_scales_says_what_is_local_and_how_large_the_maps_are(tables: Path) -> None:
    values = values_of(tables, "id_twonn")
    found = rows(tables / "scales.csv", metric="id_twonn")
    assert len(found) == 54
    for row in found:
        place = row["layer"], row["pool"], row["scale"]
        whole = values[row["layer"], "none", "1"]
        if place in COLLAPSED:
            assert (row["value"], row["local"], row["reason"] != "") == ("", "", True)
            continue
        assert (float(row["value"]), float(row["unpooled"])) == (values[place], whole)
        assert float(row["local"]) == pytest.approx(whole - values[place])
    sides = {(row["layer"], row["pool"] + row["scale"]): (row["height"], row["width"]) for row in found}
    assert sides["input", "none1"] == ("8", "8")
    assert (sides["input", "avg2"], sides["stage2.conv1", "max2"], sides["input", "max0"]) == (
        *(("4", "4"), ("2", "2"), ("1", "1")),
    )
    assert sides["gap", "avg4"] == ("", "")


def test_the_table_of_scales_has_every_metric_of_layers(root: Path) -> None:
    metrics = {
        "pca_dimension": PCADimension(),
        "participation_ratio": PCADimension("participation_ratio"),
        "id_twonn": TwoNN(),
    }
    pooling = {"none": Pooling(), "avg2": Pooling("avg", 2)}
    tables = run(experiment(root, pooling, metrics=MetricSet(metrics)), root / "linear")
    found = rows(tables / "scales.csv")
    values = {(row["metric"], row["layer"], row["pool"]): row["value"] for row in found}
    assert values == {(row["metric"], row["layer"], row["pool"]): row["value"] for row in rows(tables / "metrics.csv")}
    assert {metric for metric, _, _ in values} == set(metrics)
    for row in found:
        whole = float(values[row["metric"], row["layer"], "none"])
        assert float(row["local"]) == pytest.approx(whole - float(row["value"]))


def test_the_best_scale_of_layers_and_stages(tables: Path) -> None:
    nncs = values_of(tables, "nncs")
    best = rows(tables / "best_scales.csv")
    assert {row["metric"] for row in best} == {"nncs"}
    assert {row["among"] for row in best} == {"avg", "max", "all"}
    layers = [row for row in best if row["level"] == "layer"]
    assert len(layers) == 3 * 4, "gap and logits have no scale"
    for row in layers:
        own = {p: v for p, v in nncs.items() if p[0] == row["layer"] and p[1] in ("none", row["among"], *_both(row))}
        assert float(row["value"]) == np.nanmax(list(own.values()))
        assert float(row["value"]) == own[row["layer"], row["best_pool"], row["best_scale"]]
    stages = {(row["stage"], row["among"]): row for row in best if row["level"] == "stage"}
    assert {stage for stage, _ in stages} == {"input", "stage1", "stage2", "stage3"}


def _both(row: dict[str, str]) -> tuple[str, ...]:
    return ("avg", "max") if row["among"] == "all" else ()


def value(
    layer: str, pooling: str, number: float, *, side: int = 8, stage: str = "s", error: float = 0.0
) -> ScaleValue:
    pooled = Pooling.named(pooling)
    left = 1 if pooled.scale == 0 else -(-side // pooled.scale)
    common = {"checkpoint": "last", "epoch": 1, "split": "test", "subset": 0, "n_samples": N, "k": K, "metric": "nncs"}
    common |= {"layer": layer, "index": int(layer[-1]), "pool": pooled.pool, "scale": pooled.scale}
    shape = (4, left, left) if side else (7,)
    return ScaleValue(common, "s", pooled, shape, True, number, error, "" if number == number else "no", {})


def test_a_stage_is_judged_by_the_mean_of_its_layers() -> None:
    """Layer 1 alone is best at 2 x 2, layer 2 at 4 x 4, both together at 4 x 4."""
    numbers = {"none": (0.1, 0.1), "avg2": (0.6, 0.2), "avg4": (0.5, 0.7), "max2": (0.1, 0.65)}
    found = scale_tables([value(f"l{i + 1}", p, pair[i]) for p, pair in numbers.items() for i in (0, 1)])
    best = {(row["level"], row["layer"], row["among"]): row for row in found["best_scales"]}
    chosen: Callable[..., tuple[str, int]] = lambda *place: (best[place]["best_pool"], best[place]["best_scale"])  # noqa: E731
    assert chosen("layer", "l1", "avg") == ("avg", 2)
    assert chosen("layer", "l2", "all") == ("avg", 4)
    assert chosen("stage", "", "avg") == ("avg", 4)
    assert best["stage", "", "avg"]["value"] == pytest.approx(0.6)
    assert chosen("layer", "l1", "max") == ("none", 1), "of equal values the finest"
    assert (best["layer", "l1", "max"]["as_good"], best["stage", "", "avg"]["height"]) == ("max2", 2)


def test_a_stage_whose_layers_lack_a_value_at_a_scale_is_judged_by_the_others() -> None:
    nan = float("nan")
    values = [value("l1", "none", 0.3), value("l2", "none", 0.3), value("l1", "avg2", 0.9), value("l2", "avg2", nan)]
    (row,) = [r for r in scale_tables(values)["best_scales"] if r["level"] == "stage" and r["among"] == "avg"]
    assert (row["best_pool"], row["value"]) == ("none", pytest.approx(0.3))
    nothing = scale_tables([value("l1", "none", nan), value("l1", "avg2", nan)])["best_scales"]
    assert {row["reason"] for row in nothing} == {"no"}


def test_curves_of_means_and_maxima_are_correlated_window_by_window() -> None:
    numbers = np.random.default_rng(0).normal(size=(5, 4))
    names = ("none", "avg2", "max2", "max4")
    found = scale_tables([value(f"l{i}", name, numbers[i, j]) for i in range(5) for j, name in enumerate(names)])
    (row,) = found["scale_correlations"]
    assert (row["window"], row["n_layers"], row["pool_a"], row["pool_b"]) == (2, 5, "avg", "max")
    assert row["r"] == pytest.approx(np.corrcoef(numbers[:, 1], numbers[:, 2])[0, 1])
    assert not scale_tables([value("l1", "none", 0.5)]), "no windows, no tables"


def test_a_users_own_maps_have_scales_and_vectors_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    random = np.random.default_rng(0)
    np.save(folder / "000_maps.npy", random.normal(size=(N, 3, 7, 7)).astype(np.float32))
    np.save(folder / "001_flat.npy", random.normal(size=(N, 6)).astype(np.float32))
    np.save(folder / "labels.npy", np.arange(N) % 2)
    own = {"dataset": ActivationFiles(), "activations": ActivationsConfig(path=str(folder))}
    layout = lay_out(experiment(tmp_path, **own))
    keys = graph_keys(layout)
    assert len({key for (layer, _), key in keys.items() if layer == "flat"}) == 1
    assert len({key for (layer, _), key in keys.items() if layer == "maps"}) == 7
    sizes = {graph.point.pooling.title: graph.source.n_features for graph in layout.graphs if graph.point.index == 0}
    assert (sizes["avg2"], sizes["max4"], sizes["avg8"], sizes["none"]) == (48, 12, 3, 147)
    values, _ = next(g for g in layout.graphs if g.point.pooling == Pooling("max", 4)).source.open(Store(tmp_path))
    np.testing.assert_array_equal(values, pool_array(np.load(folder / "000_maps.npy"), Pooling("max", 4)))
