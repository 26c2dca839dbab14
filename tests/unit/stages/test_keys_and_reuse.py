"""What a change of the request makes anew, and what it leaves: stated on keys, before anything is built."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest

from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, Runtime, StoreConfig
from rra_cli.data.augment import NoAugment
from rra_cli.data.augment_views import RandomViews
from rra_cli.data.digits import Digits
from rra_cli.errors import UserError
from rra_cli.methods.none import NoTraining
from rra_cli.methods.supervised import Supervised
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.models.convnet import ConvNetSmall
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.neighbors.nn_descent import PynndescentEngine
from rra_cli.stages.keys import default_k, neighbors_of
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.layout import Layout
from rra_cli.training.optimizer import SGD


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    return Experiment(
        name="test",
        seed=0,
        dataset=Digits(n_samples=60),
        model=MLP(),
        method=Supervised(epochs=4, batch_size=32),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=5),
        metrics=MetricSet({"id_twonn": TwoNN(), "nncs": NNCS(), "nnls": NNLS()}),
        activations=ActivationsConfig(),
        store=StoreConfig(str(tmp_path)),
    )


def keys(experiment: Experiment) -> dict[str, dict[str, str]]:
    """Stage -> label -> key; labels name checkpoint, split and layer, but neither seed nor k."""
    layout = lay_out(experiment)
    return {
        "train": {"": layout.training.spec.key},
        "capture": {stage.point.title: stage.point.activations.key for stage in layout.captures},
        "graph": {stage.point.title: stage.point.graph.key for stage in layout.graphs},
        "measure": {stage.label: stage.spec.key for stage in [*layout.layers, *layout.pairs]},
    }


def changed(before: Experiment, after: Experiment) -> dict[str, set[str]]:
    """Stage -> labels whose key differs or is new."""
    old, new = keys(before), keys(after)
    return {stage: {label for label, key in new[stage].items() if old[stage].get(label) != key} for stage in new}


def test_a_new_seed_changes_all_but_data_subset_and_layer_0(base: Experiment) -> None:
    difference = changed(base, replace(base, seed=1))
    assert difference["train"] == {""}
    everything = keys(base)
    untouched = {label for label in everything["graph"] if label not in difference["graph"]}
    assert untouched == {label for label in everything["graph"] if label.startswith("input")}
    assert {label for label in everything["capture"] if label not in difference["capture"]} == untouched


def test_another_subset_changes_layer_0_but_not_the_training(base: Experiment) -> None:
    difference = changed(base, replace(base, dataset=replace(base.dataset, subset_seed=1)))
    assert difference["train"] == set()
    assert difference["graph"] == set(keys(base)["graph"])


@pytest.mark.parametrize(
    "change",
    [
        {"runtime": Runtime(device="cpu", threads=1, memory="1GB", progress="none")},
        {"store": StoreConfig("elsewhere")},
        {"name": "another"},
        {"activations": ActivationsConfig(keep="until_measured")},
    ],
)
def test_how_and_where_the_work_is_done_changes_no_key(base: Experiment, change: dict[str, object]) -> None:
    assert not any(changed(base, replace(base, **change)).values())


def test_k_changes_what_reads_k_neighbours_and_no_exact_graph(base: Experiment) -> None:
    difference = changed(base, replace(base, neighbors=ExactEngine(k=7)))
    assert (difference["train"], difference["capture"], difference["graph"]) == (set(), set(), set())
    # TwoNN reads two neighbours whatever k is, so nothing of it is measured again.
    assert difference["measure"]
    assert not any(label.startswith("id_twonn") for label in difference["measure"])


def test_k_is_part_of_an_approximate_graph_whose_lists_do_not_nest(base: Experiment) -> None:
    before = replace(base, neighbors=PynndescentEngine(k=5))
    assert changed(before, replace(base, neighbors=PynndescentEngine(k=7)))["graph"] == set(keys(base)["graph"])


def test_another_metric_leaves_graphs_and_other_metrics_alone(base: Experiment) -> None:
    more = MetricSet({**base.metrics.metrics, "id_linear": TwoNN(fit="linear")})
    difference = changed(base, replace(base, metrics=more))
    assert difference["graph"] == set()
    assert {label.split()[0] for label in difference["measure"]} == {"id_linear"}


def test_milestones_pick_from_a_training_and_do_not_change_it(base: Experiment) -> None:
    difference = changed(base, replace(base, method=Supervised(epochs=4, batch_size=32, milestones=(0, 2))))
    assert difference["train"] == set()
    assert {label.split(" · ")[1] for label in difference["graph"]} == {"epoch_0000", "epoch_0002"}


def test_augmentation_and_optimiser_change_the_training_unless_there_is_none(base: Experiment) -> None:
    assert changed(base, replace(base, augment=RandomViews(flip=0.5)))["train"] == {""}
    assert changed(base, replace(base, optimizer=SGD(lr=0.5)))["train"] == {""}
    untrained = replace(base, method=NoTraining())
    other = replace(untrained, augment=RandomViews(flip=0.5), optimizer=SGD(lr=0.5), method=NoTraining(epochs=3))
    assert not any(changed(untrained, other).values())


def test_every_identity_field_of_the_training_changes_its_key(base: Experiment) -> None:
    """The negative control of all of the above: nothing that changes weights is forgotten."""
    changes = {
        "model": MLP(width_multiplier=0.5),
        "method": Supervised(epochs=5, batch_size=32),
        "dataset": Digits(n_samples=60, train_size=200),
        "optimizer": SGD(momentum=0.5),
    }
    for field, value in changes.items():
        assert changed(base, replace(base, **{field: value}))["train"] == {""}, field


def test_layer_0_is_captured_once_for_all_checkpoints(base: Experiment) -> None:
    layout = lay_out(replace(base, method=Supervised(epochs=4, batch_size=32, milestones=1)))
    checkpoints = {graph.point.checkpoint.label for graph in layout.graphs}
    assert checkpoints == {"epoch_0000", "epoch_0001", "epoch_0002", "epoch_0003", "last"}
    assert sum(capture.point.layer == "input" for capture in layout.captures) == 2  # one a split
    assert len({graph.point.graph.key for graph in layout.graphs if graph.point.layer == "input"}) == 2


def test_inner_modules_are_placed_where_the_network_runs_them(base: Experiment) -> None:
    more = replace(base, model=ConvNetSmall(), activations=ActivationsConfig(layers=("stage1.conv1.*",)))
    layout = lay_out(more)
    names = [graph.point.layer for graph in layout.graphs if graph.point.split == "test"]
    indices = [graph.point.index for graph in layout.graphs if graph.point.split == "test"]
    assert indices == list(range(len(names)))
    assert names.index("input") == 0
    inner = [name for name in names if name.startswith("stage1.conv1.")]
    assert len(inner) >= 2
    assert names.index(inner[0]) < names.index("stage1.conv1") < names.index("logits") == len(names) - 1


def test_the_default_k_is_a_tenth_of_a_class() -> None:
    assert [default_k(15_000, 10), default_k(10_000, 10), default_k(30_000, 50)] == [150, 100, 60]  # thesis, ch. 5.4
    assert default_k(10, 10) == 2


@pytest.mark.parametrize(
    ("asked", "classes", "message", "hint"),
    [
        (60, 10, "neighbors.k is 60, but 60 samples are measured, so each has only 59", "neighbors.k=59 or less"),
        (0, 10, "neighbors.k is 0; at least 1 is needed", "neighbors.k=10, or null"),
        (None, None, "neighbors.k must be given: without labels there is no default", "neighbors.k=K with 2 <= K < 60"),
    ],
)
def test_an_impossible_k_is_refused_with_what_to_do(
    asked: int | None, classes: int | None, message: str, hint: str
) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")) as caught:
        neighbors_of(asked, 60, classes)
    assert hint in (caught.value.hint or "")
    assert neighbors_of(59, 60, 10) == 59


def test_fewer_than_three_samples_have_no_geometry() -> None:
    for n_samples, found in ((1, "1 sample is measured"), (2, "2 samples are measured")):
        with pytest.raises(UserError, match=f"{found}; at least 3 are needed"):
            neighbors_of(1, n_samples, None)
    assert neighbors_of(2, 3, None) == 2


def test_unknown_checkpoints_are_refused_with_those_that_are_kept(base: Experiment) -> None:
    wrong = replace(base, activations=ActivationsConfig(checkpoints=("epoch_0003",)))
    with pytest.raises(UserError, match="'epoch_0003', which this training does not keep"):
        lay_out(wrong)
    with pytest.raises(UserError, match="leaves nothing to measure"):
        lay_out(replace(base, activations=ActivationsConfig(checkpoints=("milestones",))))


def test_a_path_to_files_is_not_ignored_beside_a_data_set_of_images(base: Experiment) -> None:
    with pytest.raises(UserError, match=r"activations\.path is set, but dataset=digits"):
        lay_out(replace(base, activations=ActivationsConfig(path="somewhere")))


def test_the_last_epoch_is_called_last_however_it_is_asked_for(base: Experiment) -> None:
    labels = [
        {graph.point.checkpoint.label for graph in lay_out(replace(base, activations=config)).graphs}
        for config in (ActivationsConfig(checkpoints=("last",)), ActivationsConfig(checkpoints=("epoch_0004",)))
    ]
    assert labels == [{"last"}, {"last"}]


def test_laying_out_writes_nothing(base: Experiment, tmp_path: Path) -> None:
    layout = lay_out(base)
    assert isinstance(layout, Layout)
    assert list(tmp_path.iterdir()) == []


def test_every_field_of_an_experiment_declares_what_it_does() -> None:
    undeclared = [field.name for field in dataclasses.fields(Experiment) if "kind" not in field.metadata]
    assert undeclared == []
