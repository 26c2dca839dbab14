"""Layers of a method's projector and predictor: named behind the encoder's, captured from the trained weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.core.artifact import ArtifactGoneError
from rra_cli.core.progress import Progress, silent
from rra_cli.core.store import Store
from rra_cli.data.augment import Augment, Drawn, NoAugment
from rra_cli.data.digits import Digits
from rra_cli.errors import UserError
from rra_cli.methods.simclr import SimCLR
from rra_cli.methods.simsiam import SimSiam
from rra_cli.methods.supervised import Supervised
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.spectrum import SingularValues
from rra_cli.models.encoder import Encoder, Layer
from rra_cli.models.mlp import MLP
from rra_cli.models.model import Model
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.stages.array_rows import shown_ranks
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.lay_out.network_layers import check_heads
from rra_cli.stages.layout import Layout
from rra_cli.stages.tabulate import Tabulator
from rra_cli.training.optimizer import SGD


class Quiet:
    """A reporter that shows nothing."""

    def task(self, title: str):
        from contextlib import nullcontext

        progress: Progress = silent
        return nullcontext(progress)

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


class Noise(Augment):
    """Adds noise. Without a name of its own it is no component."""

    name: ClassVar[str] = "noise"

    def draw(self, shape: Sequence[int], generator: torch.Generator) -> Drawn:
        return {"noise": torch.rand(tuple(shape), generator=generator)}

    def change(self, images: torch.Tensor, drawn: Drawn, view: int = 0) -> torch.Tensor:
        return (images + 0.1 * drawn["noise"]).clamp(0, 1)


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    return Experiment(
        name="test",
        seed=0,
        dataset=Digits(train_size=60, n_samples={"train": 30, "test": 30}),
        model=MLP(width=8, depth=1),
        method=SimSiam(epochs=1, batch_size=20, projector=(6, 5), predictor=4, milestones=(0,)),
        augment=Noise(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=3),
        metrics=MetricSet({"id_twonn": TwoNN(), "effective_rank": SingularValues()}),
        activations=ActivationsConfig(heads=True),
        store=StoreConfig(str(tmp_path / "store")),
    )


def layers(layout: Layout) -> list[str]:
    return list(dict.fromkeys(graph.point.layer for graph in layout.graphs))


def test_heads_follow_the_encoder_block_by_block(base: Experiment) -> None:
    layout = lay_out(base)
    assert layers(layout) == ["input", "hidden1", "projector.1", "projector.2", "predictor.1", "predictor.2"]
    points = {graph.point.layer: graph.point for graph in layout.graphs}
    assert [points[name].stage for name in ("projector.2", "predictor.1")] == ["projector", "predictor"]
    assert [points[name].index for name in layers(layout)] == list(range(6))
    widths = {capture.point.layer: capture.width for capture in layout.captures}
    assert list(widths.values())[:6] == [64, 8, 6, 5, 4, 5]


def test_they_are_a_selection_the_encoders_layers_keep_their_keys(base: Experiment) -> None:
    with_heads = {c.point.title: c.point.activations.key for c in lay_out(base).captures}
    without = {
        c.point.title: c.point.activations.key for c in lay_out(replace(base, activations=ActivationsConfig())).captures
    }
    assert without.items() < with_heads.items()
    assert len(set(with_heads.values())) == len(with_heads)


@pytest.mark.long
def test_what_is_captured_are_the_trained_heads_outputs(base: Experiment, tmp_path: Path) -> None:
    """Equal to a forward pass by hand with the weights of `weights.pt` and `heads.pt`; epoch 0 has other ones."""
    pipeline.run(base, tmp_path / "run", Quiet(), config={"experiment": "test"})
    layout = lay_out(base)
    store = Store(base.store_root)
    assert layout.training is not None
    found = {c.point.title: np.asarray(c.open(store)[0]) for c in layout.captures}
    for checkpoint in (layout.training.last, *layout.training.milestones):
        headed = layout.training.load_headed(store, checkpoint)
        artifact = store.find(layout.training.spec, checkpoint.entry)
        assert artifact is not None
        stored = torch.load(artifact.file("heads.pt"), weights_only=True)
        assert set(stored) == {name for name in headed.state_dict() if not name.startswith("encoder.")}
        with torch.no_grad():
            images = layout.images(layout.graphs[0].point).batches("test", 0, 30, "cpu")
            values = headed.encoder(images)
            torch.testing.assert_close(torch.from_numpy(found[f"hidden1 · {checkpoint.label} · test"].copy()), values)
            for head in ("projector", "predictor"):
                for block in ("1", "2"):
                    values = headed.get_submodule(f"{head}.{block}")(values)
                    title = f"{head}.{block} · {checkpoint.label} · test"
                    torch.testing.assert_close(torch.from_numpy(found[title].copy()), values)
    assert not np.allclose(found["predictor.2 · last · test"], found["predictor.2 · epoch_0000 · test"])

    rows = Tabulator(layout, store).tables()["spectra"]
    mine = [row for row in rows if (row["layer"], row["checkpoint"], row["split"]) == ("predictor.1", "last", "test")]
    centred = found["predictor.1 · last · test"].astype(float)
    centred -= centred.mean(axis=0)
    expected = np.linalg.svd(centred, compute_uv=False) ** 2 / 30
    assert [row["rank"] for row in mine] == [1, 2, 3, 4]
    np.testing.assert_allclose([row["eigenvalue"] for row in mine], expected, rtol=1e-6, atol=1e-12)


@pytest.mark.long
def test_nothing_is_made_from_damaged_weights(base: Experiment, tmp_path: Path) -> None:
    """A bit of a number, which unpacks without a fault; the other checkpoint, the control, is read."""
    pipeline.run(base, tmp_path / "run", Quiet(), config={"experiment": "test"})
    training = lay_out(base).training
    assert training is not None
    store, (first, *_) = Store(base.store_root, warn=lambda message: None), training.milestones
    artifact = store.find(training.spec, first.entry)
    assert artifact is not None
    path = artifact.file("weights.pt")
    content = bytearray(path.read_bytes())
    content[content.index(b"/data/0") + 200] ^= 1
    path.write_bytes(content)
    for load in (training.load, training.load_headed):
        with pytest.raises(ArtifactGoneError, match=f"{first.entry} of .* is not in the store") as caught:
            load(store, first)
        assert "run the same command again" in str(caught.value.hint)
    assert training.load(store, training.last)


@pytest.mark.long
def test_initial_weights_are_those_that_the_training_begins_with(base: Experiment, tmp_path: Path) -> None:
    """The plan's fresh encoder and heads: epoch 0 of the training, drawn in the same order."""
    pipeline.run(base, tmp_path / "run", Quiet(), config={"experiment": "test"})
    training = lay_out(base).training
    assert training is not None
    kept = training.load_headed(Store(base.store_root), training.milestones[0]).state_dict()
    fresh = {f"encoder.{name}": value for name, value in training.fresh.encoder().module.state_dict().items()}
    for head, module in training.fresh.heads().items():
        fresh |= {f"{head}.{name}": value for name, value in module.state_dict().items()}
    assert set(fresh) == set(kept)
    assert all(torch.equal(value, kept[name]) for name, value in fresh.items())


def test_a_method_without_heads_adds_none_and_says_so(base: Experiment) -> None:
    layout = lay_out(replace(base, method=Supervised(epochs=1, batch_size=20)))
    assert layers(layout) == ["input", "hidden1", "logits"]
    assert "activations.heads adds no layers: method=supervised has neither projector nor predictor" in layout.notes
    assert not [note for note in lay_out(base).notes if "heads" in note]


def test_equal_views_are_noted(base: Experiment) -> None:
    layout = lay_out(replace(base, augment=NoAugment()))
    assert "method=simsiam compares 2 views of an image, which augment=none makes equal" in layout.notes
    assert not [note for note in lay_out(base).notes if "views" in note]


def test_the_encoder_of_a_method_without_labels_does_not_depend_on_classes(base: Experiment) -> None:
    training = lay_out(base).training
    assert training is not None
    assert training.spec.identity["n_classes"] == 0
    assert training.fresh.encoder().layers[-1].name == "hidden1"
    supervised = lay_out(replace(base, method=Supervised(epochs=1, batch_size=20))).training
    assert supervised is not None
    assert supervised.spec.identity["n_classes"] == 10


def test_a_module_with_a_heads_name_is_refused() -> None:
    encoder = nn.Sequential()
    encoder.add_module("projector", nn.Linear(2, 2))
    with pytest.raises(UserError, match="a module named 'projector', as the method's projector is called"):
        check_heads({"projector": nn.Identity()}, encoder)
    check_heads({"predictor": nn.Identity()}, encoder)


class Plain(Model):
    """Does not say how many features its representation has. Without a name of its own it is no component."""

    name: ClassVar[str] = "plain"

    def build(self, input_shape: tuple[int, int, int], n_classes: int) -> Encoder:
        return Encoder(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), (Layer("input", ""), Layer("a", "1")))


def test_a_model_that_does_not_say_its_features_cannot_have_a_projector(base: Experiment) -> None:
    with pytest.raises(UserError, match="does not say how many features"):
        lay_out(replace(base, model=Plain()))
    without = SimCLR(epochs=1, batch_size=20, projector=())
    assert lay_out(replace(base, model=Plain(), method=without)).graphs


class Unlabelled(Digits):
    """Without a name of its own it is no component."""

    name: ClassVar[str] = "digits"
    class_names: ClassVar[tuple[str, ...]] = ()


def test_a_method_that_needs_labels_on_data_without_is_refused(base: Experiment) -> None:
    """Before anything is read or built."""
    supervised = replace(base, method=Supervised(epochs=1, batch_size=20), neighbors=ExactEngine(k=3))
    with pytest.raises(UserError, match="method=supervised needs labels, but dataset=digits has none") as caught:
        lay_out(replace(supervised, dataset=Unlabelled()))
    assert "simclr" in str(caught.value.hint)


def test_heads_belong_to_a_training(base: Experiment, tmp_path: Path) -> None:
    from rra_cli.data.activation_files import ActivationFiles

    np.save(tmp_path / "000_a.npy", np.random.default_rng(0).normal(size=(20, 3)))
    files = replace(base, dataset=ActivationFiles(), activations=ActivationsConfig(path=str(tmp_path), heads=True))
    with pytest.raises(UserError, match=r"activations\.heads captures the projector and predictor of a method"):
        lay_out(files)


@pytest.mark.parametrize(("n", "count"), [(1, 1), (64, 64), (65, 65), (128, 80), (2048, 144)])
def test_shown_ranks_are_all_of_the_first_and_some_of_the_rest(n: int, count: int) -> None:
    ranks = shown_ranks(n)
    assert ranks[0] == 1
    assert ranks[-1] == n
    assert ranks == sorted(set(ranks))
    assert len(ranks) == count
    assert set(range(1, min(n, 64) + 1)) <= set(ranks)
