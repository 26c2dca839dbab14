"""A user's files as a source of layers: which rows, which layers, and what decides them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.augment import NoAugment
from rra_cli.errors import UserError
from rra_cli.methods.none import NoTraining
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.stages.files import UserFiles
from rra_cli.stages.lay_out import lay_out
from rra_cli.training.optimizer import SGD


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    rng = np.random.default_rng(0)
    folder = tmp_path / "layers"
    folder.mkdir()
    for index, name in enumerate(("input", "block1.conv", "block2.conv", "head")):
        np.save(folder / f"{index:03d}_{name}.npy", rng.normal(size=(60, 5)).astype(np.float32))
    np.save(folder / "labels.npy", np.arange(60) % 3)
    return Experiment(
        name="files",
        seed=0,
        dataset=ActivationFiles(),
        model=MLP(),
        method=NoTraining(),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=5),
        metrics=MetricSet({"nncs": NNCS()}),
        activations=ActivationsConfig(path=str(folder)),
        store=StoreConfig(str(tmp_path / "store")),
    )


def names(experiment: Experiment) -> list[str]:
    return [graph.point.layer for graph in lay_out(experiment).graphs]


def test_what_the_files_are_called_draws_no_other_rows(experiment: Experiment) -> None:
    def drawn(**options: object) -> tuple[list[int], str]:
        chosen = replace(experiment, dataset=ActivationFiles(n_samples=20, **options))  # type: ignore[arg-type]
        return UserFiles(chosen).rows.tolist(), lay_out(chosen).graphs[0].point.graph.key

    assert drawn(splits=("train",)) == drawn(splits=("test",))
    rows, key = drawn(subset_seed=1)
    assert (rows != drawn()[0], key != drawn()[1]) == (True, True)


def test_a_draw_of_one_class_is_refused(experiment: Experiment) -> None:
    labels = np.zeros(60, np.int64)
    labels[59] = 1
    np.save(Path(str(experiment.activations.path)) / "labels.npy", labels)
    for seed in range(5):
        files = UserFiles(replace(experiment, dataset=ActivationFiles(n_samples=6, subset_seed=seed)))
        if labels[np.random.RandomState([seed, 2]).permutation(60)[:6]].any():
            continue
        with pytest.raises(UserError, match="holds only one class"):
            _ = files.rows
        return
    pytest.fail("no seed drew one class only")


def test_layers_are_picked_by_name_or_glob_in_their_order(experiment: Experiment) -> None:
    def picking(*layers: str) -> Experiment:
        return replace(experiment, activations=replace(experiment.activations, layers=layers))

    assert names(experiment) == ["input", "block1.conv", "block2.conv", "head"]
    assert names(picking("head", "block*")) == ["block1.conv", "block2.conv", "head"]
    assert [graph.point.index for graph in lay_out(picking("head")).graphs] == [0]
    with pytest.raises(UserError, match=r"'block3\.conv', but no file is that layer: did you mean"):
        lay_out(picking("block3.conv"))


def test_an_unpicked_layer_may_be_anything_and_changes_no_key(experiment: Experiment) -> None:
    picked = replace(experiment, activations=replace(experiment.activations, layers=("input",)))
    key = lay_out(picked).graphs[0].point.graph.key
    np.save(Path(str(experiment.activations.path)) / "003_head.npy", np.ones((60, 2), np.float32))
    assert lay_out(picked).graphs[0].point.graph.key == key
    assert lay_out(picked).model != lay_out(experiment).model
