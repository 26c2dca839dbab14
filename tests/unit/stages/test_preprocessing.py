"""Preprocessing and reduction in a run: what they make anew, what a person is told, and what is refused beforehand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rra_cli.activations.pooling import Pooling
from rra_cli.activations.projection import Projection, Projector
from rra_cli.config.compose import load
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, Runtime, StoreConfig
from rra_cli.core.progress import Progress, silent
from rra_cli.core.store import Store
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.augment import NoAugment
from rra_cli.data.digits import Digits
from rra_cli.errors import ConfigError, UserError
from rra_cli.methods.none import NoTraining
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine, exact_neighbors
from rra_cli.neighbors.preprocess import SCRATCH, Preprocess, fit
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.layout import Layout
from rra_cli.stages.stage import Context, ensure
from rra_cli.training.optimizer import SGD

CHOICES: list[Preprocess] = ["centre", "zscore", "l2", "whitening"]


class Listener:
    """A reporter that remembers what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def task(self, title: str):
        from contextlib import nullcontext

        progress: Progress = silent
        return nullcontext(progress)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.notes.append(message)


def network(root: Path, **changes: Any) -> Experiment:
    base = Experiment(
        name="test",
        seed=0,
        dataset=Digits(n_samples=100, splits=("test",)),
        model=MLP(width=30, depth=1),
        method=NoTraining(),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=5),
        metrics=MetricSet({"id_twonn": TwoNN(), "nnls": NNLS()}),
        store=StoreConfig(str(root / "store")),
        runtime=Runtime(device="cpu"),
    )
    return replace(base, **changes)


def user_files(root: Path, shape: tuple[int, int] = (200, 6), **changes: Any) -> Experiment:
    folder = root / "layers"
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    np.save(folder / "0_first.npy", (rng.normal(size=shape) * np.geomspace(0.1, 10, shape[1])).astype(np.float32))
    files = network(root, dataset=ActivationFiles(splits=("test",)), activations=ActivationsConfig(path=str(folder)))
    return replace(files, **changes)


def built(experiment: Experiment, memory: int | None = None) -> tuple[Layout, Store, Listener]:
    layout, store, listener = lay_out(experiment), Store(experiment.store_root), Listener()
    context = Context(store, listener, "cpu", memory)
    for graph in layout.graphs:
        ensure(graph, context)
    return layout, store, listener


# Preprocessing


@pytest.mark.parametrize("name", CHOICES)
def test_the_stored_graph_is_that_of_the_transformed_file(name: Preprocess, tmp_path: Path) -> None:
    experiment = user_files(tmp_path, neighbors=ExactEngine(k=5, preprocess=name))
    layout, store, _ = built(experiment)
    graph, reason, n_features = layout.graphs[0].load(store, 5)
    x = np.load(tmp_path / "layers" / "0_first.npy")
    expected = exact_neighbors(fit(name, x).apply(x), 5, device="cpu")
    assert graph is not None
    assert (reason, n_features) == ("", 6)
    np.testing.assert_array_equal(graph.indices, expected.indices)
    np.testing.assert_array_equal(graph.distances, expected.distances)


def test_a_scratch_copy_gives_the_same_graph_and_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = user_files(tmp_path, (500, 40), neighbors=ExactEngine(k=5, preprocess="zscore"))
    expected = built(experiment)[0].graphs[0].load(Store(experiment.store_root), 5)[0]
    seen: list[bool] = []
    honest = ExactEngine.search

    def search(self: ExactEngine, activations: Any, k: int, **options: Any) -> Any:
        seen.extend([isinstance(activations, np.memmap), (options["work"] / SCRATCH).exists()])
        return honest(self, activations, k, **options)

    monkeypatch.setattr(ExactEngine, "search", search)
    elsewhere = replace(experiment, store=StoreConfig(str(tmp_path / "other")))
    layout, store, _ = built(elsewhere, memory=200_000)
    found = layout.graphs[0].load(store, 5)[0]
    assert seen == [True, True]
    assert not list((tmp_path / "other").rglob(SCRATCH))
    assert found is not None
    assert expected is not None
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_shards_of_preprocessed_rows_merge_to_the_same_graph(tmp_path: Path) -> None:
    whole = user_files(tmp_path, neighbors=ExactEngine(k=5, preprocess="whitening"))
    shards = replace(whole, neighbors=replace(whole.neighbors, shards=3), store=StoreConfig(str(tmp_path / "shards")))
    (one, store_one, _), (three, store_three, _) = built(whole), built(shards)
    a, b = one.graphs[0].load(store_one, 5)[0], three.graphs[0].load(store_three, 5)[0]
    assert a is not None
    assert b is not None
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_array_equal(a.distances, b.distances)


def test_it_makes_graphs_anew_but_no_activations(tmp_path: Path) -> None:
    before = lay_out(network(tmp_path))
    after = lay_out(network(tmp_path, neighbors=ExactEngine(k=5, preprocess="l2")))
    assert [s.point.activations.key for s in before.captures] == [s.point.activations.key for s in after.captures]
    assert not {s.point.graph.key for s in before.graphs} & {s.point.graph.key for s in after.graphs}
    spelled_out = lay_out(network(tmp_path, neighbors=ExactEngine(k=5, preprocess="none")))
    assert [s.point.graph.key for s in before.graphs] == [s.point.graph.key for s in spelled_out.graphs]


@pytest.mark.parametrize("shards", [1, 2])
def test_layers_without_neighbourhoods_have_no_value_and_a_reason(tmp_path: Path, shards: int) -> None:
    """Whitened, 40 samples of 60 features are a simplex. It is said before the run starts that this may come."""
    experiment = user_files(tmp_path, (40, 60), neighbors=ExactEngine(k=5, preprocess="whitening", shards=shards))
    layout, store, _ = built(experiment)
    graph, reason, n_features = layout.graphs[0].load(store, 5)
    assert graph is None
    assert reason == "after whitening, 40 samples with 39 independent directions are all equally far from each other"
    assert n_features == 60
    assert ["first" in note and "whitening leaves no neighbourhoods" in note for note in layout.notes] == [True]
    assert lay_out(user_files(tmp_path, (100, 60), neighbors=experiment.neighbors)).notes == []


def test_what_a_fit_left_out_is_told(tmp_path: Path) -> None:
    experiment = network(tmp_path, neighbors=ExactEngine(k=5, preprocess="zscore"))
    _, _, listener = built(experiment)
    # Corners of the digits are always white.
    assert any("input" in note and "of 64 features are constant and become 0" in note for note in listener.notes)


def test_whitening_of_layers_that_are_too_large_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    folder = tmp_path / "layers"
    folder.mkdir()
    np.lib.format.open_memmap(folder / "0_first.npy", mode="w+", dtype=np.float16, shape=(9000, 8500))
    experiment = network(
        tmp_path,
        dataset=ActivationFiles(splits=("test",)),
        activations=ActivationsConfig(path=str(folder)),
        neighbors=ExactEngine(k=5, preprocess="whitening"),
    )
    with pytest.raises(UserError, match="layer 'first': whitening 9,000 samples of 8,500 features needs one of"):
        lay_out(experiment, read_only=True)


# Reduction


def test_reduced_layers_are_projections_of_the_whole_ones(tmp_path: Path) -> None:
    whole, store, _ = built(network(tmp_path))
    layout, _, _ = built(network(tmp_path, activations=ActivationsConfig(reduce=20)))
    projector = Projector(Projection(20))
    for before, after in zip(whole.captures, layout.captures, strict=True):
        import torch

        full, reduced = before.open(store)[0], after.open(store)[0]
        assert (after.width, after.n_features) == (before.n_features, min(20, before.n_features))
        assert after.n_bytes == reduced.nbytes
        expected = projector.project(torch.from_numpy(np.array(full))).numpy()
        np.testing.assert_allclose(reduced, expected, rtol=1e-5, atol=1e-6)
    assert layout.notes == [
        "2 of 3 layers are projected to 20 dimensions (the largest has 64 features), which changes what is measured: "
        "see docs/neighbors.md"
    ]


def test_layers_that_are_small_enough_keep_their_key(tmp_path: Path) -> None:
    """So that their activations, graphs and values are not made twice."""
    whole, reduced = lay_out(network(tmp_path)), lay_out(network(tmp_path, activations=ActivationsConfig(reduce=20)))
    same = {
        before.point.layer: before.point.graph.key == after.point.graph.key
        for before, after in zip(whole.graphs, reduced.graphs, strict=True)
    }
    assert same.pop("logits")
    assert same
    assert not any(same.values())
    for more in (64, 1000):
        unchanged = lay_out(network(tmp_path, activations=ActivationsConfig(reduce=more)))
        assert unchanged.notes == []
        assert [s.point.graph.key for s in unchanged.graphs] == [s.point.graph.key for s in whole.graphs]


def test_seed_and_dimensions_are_part_of_the_key(tmp_path: Path) -> None:
    configs = [ActivationsConfig(reduce=reduce, reduce_seed=seed) for reduce in (10, 20) for seed in (0, 1)]
    keys = [lay_out(network(tmp_path, activations=config)).captures[0].point.activations.key for config in configs]
    passes = [lay_out(network(tmp_path, activations=config)).captures[0].capture_pass.spec.key for config in configs]
    assert len(set(keys)) == len(set(passes)) == 4


def test_a_users_files_are_not_projected(tmp_path: Path) -> None:
    experiment = user_files(tmp_path)
    experiment = replace(experiment, activations=replace(experiment.activations, reduce=3))
    with pytest.raises(UserError, match=r"activations\.reduce=3 projects layers while they are captured") as fault:
        lay_out(experiment)
    assert fault.value.hint is not None
    assert "rra_cli.capture(..., reduce=3)" in fault.value.hint


# On the command line


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "neighbors.preprocess=whiten",
            "expected one of none, centre, zscore, l2, whitening, got 'whiten'; did you me",
        ),
        ("activations.reduce=0", r"activations\.reduce is 0; at least 1 dimension is needed"),
        ("activations.reduce_seed=-1", r"activations\.reduce_seed is -1; it must lie in"),
        ("activations.reduce=1.5", r"activations\.reduce: expected an integer or null, got 1\.5"),
    ],
)
def test_wrong_settings_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load([override])


def test_every_engine_has_it() -> None:
    assert load(["neighbors=pynndescent", "neighbors.preprocess=l2"]).neighbors.preprocess == "l2"
    assert load(["activations.reduce=256"]).activations.projection == Projection(256)
    assert load([]).activations.projection is None


def test_a_projection_costs_its_products_and_saves_the_disk(tmp_path: Path) -> None:
    """Beyond the forward pass and the writing: 2 N d k multiply-adds; the layer itself is never on disk."""
    from rra_cli.stages import costs

    whole = lay_out(network(tmp_path)).captures[0]
    less = lay_out(network(tmp_path, activations=ActivationsConfig(reduce=20))).captures[0]
    assert (whole.cost().disk_bytes, less.cost().disk_bytes) == (100 * 64 * 4, 100 * 20 * 4)
    assert whole.cost().memory_bytes == less.cost().memory_bytes
    saved = (100 * 64 * 4 - 100 * 20 * 4) / costs.DISK_BYTES
    products = 2 * (2 * 100 * 64 * 20) / costs.FORWARD_FLOPS
    assert less.cost().seconds == pytest.approx(whole.cost().seconds - saved + products)
