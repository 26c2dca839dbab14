"""How much of its final neighbourhoods a layer has already: the same layer at two checkpoints."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.core.store import Store
from rra_cli.data.augment import NoAugment
from rra_cli.data.digits import Digits
from rra_cli.methods.supervised import Supervised
from rra_cli.metrics.layer_similarity import NNLS, nnls
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.point import Checkpoint
from rra_cli.stages.to_last import compared, in_order
from rra_cli.training.optimizer import SGD

K = 6


class Quiet:
    """A reporter that shows nothing."""

    def task(self, title: str):
        from contextlib import nullcontext

        return nullcontext(lambda done, total, note: None)

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("to_last")


def experiment(root: Path) -> Experiment:
    return Experiment(
        name="test",
        seed=0,
        dataset=Digits(n_samples=50),
        model=MLP(width=16, depth=2),
        method=Supervised(epochs=2, batch_size=64, milestones=1),
        augment=NoAugment(),
        optimizer=SGD(lr=0.1),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=K),
        metrics=MetricSet({"nnls": NNLS()}),
        activations=ActivationsConfig(checkpoints=("milestones", "best", "last"), keep="until_measured"),
        store=StoreConfig(str(root / "store")),
    )


@pytest.fixture(scope="module")
def found(root: Path) -> list[dict[str, str]]:
    """The rows of nnls.csv."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "render", lambda *args, **keywords: [])
        pipeline.run(experiment(root), root / "run", Quiet(), config={})  # type: ignore[arg-type]
    with (root / "run" / "tables" / "nnls.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_earlier_checkpoint_has_a_row_a_layer_and_best_has_none(root: Path, found: list[dict[str, str]]) -> None:
    across = [row for row in found if row["checkpoint_a"] != row["checkpoint_b"]]
    layers = {graph.point.layer for graph in lay_out(experiment(root)).graphs}
    places = {(row["checkpoint_a"], row["checkpoint_b"], row["split_a"], row["layer_a"]) for row in across}
    assert places == {
        (earlier, later, split, layer)
        for earlier, later in (("epoch_0000", "last"), ("epoch_0001", "last"), ("epoch_0000", "epoch_0001"))
        for split in ("train", "test")
        for layer in layers
    }
    assert len(across) == len(places)
    assert all((row["layer_a"], row["split_a"]) == (row["layer_b"], row["split_b"]) for row in across)
    assert len(found) - len(across) == 4 * 2 * len(layers) ** 2, "within checkpoints, as ever"


def test_values_are_those_of_the_two_graphs(root: Path, found: list[dict[str, str]]) -> None:
    layout, store = lay_out(experiment(root)), Store(root / "store")
    graphs = {
        (graph.point.checkpoint.label, graph.point.split, graph.point.layer): graph.load(store, K)[0]
        for graph in layout.graphs
    }
    seen = set()
    for row in found:
        if row["checkpoint_a"] != row["checkpoint_b"]:
            one, other = (graphs[row[f"checkpoint_{s}"], row[f"split_{s}"], row[f"layer_{s}"]] for s in ("a", "b"))
            assert one is not None
            assert other is not None
            assert float(row["nnls"]) == nnls(one, other).value
            assert (row["engine_a"], row["recall_b"], row["k"]) == ("exact", "1.0", str(K))
            seen.add((row["layer_a"] == "input", float(row["nnls"]) == 1.0))
    assert seen == {(True, True), (False, False)}, "the data itself does not change, what is trained does"


def test_it_is_measured_in_the_walk_of_the_last_checkpoint(root: Path) -> None:
    layout = lay_out(experiment(root))
    walks = {walk.title: walk.targets for walk in layout.walks}
    first = [stage for title, targets in walks.items() if "epoch_0000" in title for stage in targets]
    assert all(stage.name != "to_last" for stage in first)
    assert sum(stage.name == "to_last" for stage in walks["last · test"]) == 2
    assert sum(stage.name == "to_last" for stage in walks["epoch_0001 · test"]) == 1, "with the one before"
    assert len(layout.to_last) == 6
    assert len({stage.spec.key for stage in layout.to_last}) == 6


def test_each_checkpoint_is_compared_with_the_last_and_with_the_next_and_no_two_twice() -> None:
    first, second, third, last = (Checkpoint(f"epoch_{e:04}", f"epoch_{e:04}", e) for e in (0, 1, 5, 9))
    assert compared([last, first, Checkpoint("best", "best", 5), third, second]) == [
        (first, last), (second, last), (third, last), (first, second), (second, third),
    ]  # fmt: skip
    assert compared([first, last]) == [(first, last)]
    assert compared([last]) == compared([]) == []


def test_the_last_one_is_that_of_the_highest_epoch_that_is_measured(root: Path) -> None:
    points = [Checkpoint("epoch_0000", "epoch_0000", 0), Checkpoint("epoch_0010", "epoch_0010", 10)]
    assert in_order([*reversed(points), Checkpoint("best", "best", None)]) == points
    assert in_order([Checkpoint("best", "best", 0)]) == []
    early = ActivationsConfig(checkpoints=("milestones",))
    layout = lay_out(replace(experiment(root), activations=early))
    assert {stage.point.checkpoint.label for stage in layout.to_last} == {"epoch_0001"}
    assert not lay_out(replace(experiment(root), activations=ActivationsConfig(checkpoints=("last",)))).to_last
