"""Every model, method, optimiser, augmentation and data set, found by itself: what the rest relies on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rra_cli.activations.hooks import trace
from rra_cli.activations.layers import resolve_layers
from rra_cli.activations.stream import Request, feature_shapes, stream
from rra_cli.config import catalog
from rra_cli.config.compose import load
from rra_cli.core.component import components
from rra_cli.data.augment import Augment
from rra_cli.data.dataset import SPLITS, ImageDataset, Samples, Split
from rra_cli.errors import UserError
from rra_cli.methods.method import Batch
from rra_cli.models.encoder import INPUT, Encoder, Layer
from rra_cli.models.model import Model

MODELS, METHODS, OPTIMIZERS = components("model"), components("method"), components("optimizer")
IMAGES = {name: cls() for name, cls in components("dataset").items() if issubclass(cls, ImageDataset) and cls.published}
AUGMENTS = list(catalog.options()["augment"])


@cache
def augmentation(name: str) -> Augment:
    return load([f"augment={name}"]).augment


# Models


def gradient_faults(encoder: Encoder, images: torch.Tensor) -> list[str]:
    """Parameters that a loss of the last layer does not reach with finite gradients."""
    encoder.module.train()
    # Not the plain sum: behind a batch norm its gradient vanishes.
    encoder.module(images).square().sum().backward()
    return [
        name
        for name, parameter in encoder.module.named_parameters()
        if parameter.grad is None or not torch.isfinite(parameter.grad).all() or not parameter.grad.any()
    ]


def built_or_fault(model: Model, shape: tuple[int, int, int], n_classes: int) -> Encoder | UserError:
    try:
        return model.build(shape, n_classes)
    except UserError as error:
        return error


# One data set of each shape, that with the most classes.
SHAPES = {IMAGES[name].input_shape: name for name in sorted(IMAGES, key=lambda name: len(IMAGES[name].class_names))}


@pytest.mark.parametrize("dataset", SHAPES.values())
@pytest.mark.parametrize("name", MODELS)
def test_a_model_builds_for_every_data_set_or_refuses(name: str, dataset: str, tmp_path: Path) -> None:
    """Where it builds, every layer and every inner module can be captured, and every parameter learns."""
    shape, n_classes = IMAGES[dataset].input_shape, len(IMAGES[dataset].class_names)
    torch.manual_seed(0)
    encoder = built_or_fault(MODELS[name](), shape, n_classes)
    if isinstance(encoder, UserError):
        assert "x".join(map(str, shape)) in encoder.message
        assert encoder.hint
        return
    images = torch.rand(4, *shape)
    with torch.no_grad():
        encoder.module.eval()
        expected = encoder.module(images)
    assert expected.shape == (4, n_classes)

    requests = [Request(layer.name, layer.module) for layer in encoder.layers]
    shapes = feature_shapes(encoder.module, requests, shape)
    captured = stream(encoder.module, lambda a, b: images[a:b], 4, requests, tmp_path, batch_size=4, device="cpu")
    layers = [np.load(captured[request].path) for request in requests]
    assert [layer.shape for layer in layers] == [(4, math.prod(shapes[request])) for request in requests]
    np.testing.assert_array_equal(layers[0], images.reshape(4, -1))
    np.testing.assert_array_equal(layers[-1], expected)

    problems = {call.reference: call.problem for call in trace(encoder.module, images) if call.problem}
    assert not problems
    # Named in the order in which the network runs them, on which the plots' axis relies.
    modules = [layer.module for layer in encoder.layers[1:]]
    assert resolve_layers(encoder.module, modules[::-1], input_shape=shape) == modules
    assert gradient_faults(encoder, images) == []


@pytest.mark.parametrize("name", MODELS)
def test_some_data_set_fits_every_model(name: str) -> None:
    """Otherwise refusing everything would pass the test above."""

    built = [built_or_fault(MODELS[name](), cls.input_shape, len(cls.class_names)) for cls in IMAGES.values()]
    assert any(isinstance(encoder, Encoder) for encoder in built)


def test_a_parameter_that_learns_nothing_is_seen() -> None:
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.used(images.flatten(1))

    encoder = Encoder(Dead(), (Layer(INPUT, ""), Layer("used", "used")))
    assert gradient_faults(encoder, torch.rand(4, 1, 2, 2)) == ["unused.weight", "unused.bias"]


# Augmentations


def law_shape_and_range(augment: Augment, images: torch.Tensor) -> None:
    for seed in range(3):
        found = augment(images, torch.Generator().manual_seed(seed))
        assert found.shape == images.shape
        assert found.dtype == images.dtype
        assert torch.isfinite(found).all()
        assert 0 <= float(found.min()) <= float(found.max()) <= 1


def law_determined_by_the_generator(augment: Augment, images: torch.Tensor) -> None:
    first, second = (augment(images, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(augment(images, torch.Generator().manual_seed(7)), first), "torch's global generator is used"


def law_input_is_left_alone(augment: Augment, images: torch.Tensor) -> None:
    before = images.clone()
    augment(images, torch.Generator().manual_seed(0))
    assert torch.equal(images, before)


def law_drawn_per_sample(augment: Augment, images: torch.Tensor) -> None:
    """One image many times: all stay equal (nothing is drawn) or they differ among each other."""
    copies = images[:1].expand(32, *images.shape[1:]).contiguous()
    found = augment(copies, torch.Generator().manual_seed(0)).flatten(1)
    if not torch.equal(found, copies.flatten(1)):
        assert len(torch.unique(found, dim=0)) > 1


AUGMENT_LAWS = [law_shape_and_range, law_determined_by_the_generator, law_input_is_left_alone, law_drawn_per_sample]
AugmentLaw = Callable[[Augment, torch.Tensor], None]


def colourful(channels: int) -> torch.Tensor:
    images = torch.rand(6, channels, 12, 12, generator=torch.Generator().manual_seed(3))
    # The ends of the range: black, white, and one pixel that interpolation may push beyond it.
    images[0], images[1], images[2] = 0.0, 1.0, 0.0
    images[2, :, 5, 5] = 1.0
    return images


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("law", AUGMENT_LAWS)
@pytest.mark.parametrize("name", AUGMENTS)
def test_an_augmentation_obeys_the_laws(name: str, law: AugmentLaw, channels: int) -> None:
    law(augmentation(name), colourful(channels))


def test_every_augmentation_has_an_option() -> None:
    assert {type(augmentation(name)) for name in AUGMENTS} >= set(components("augment").values())


def brighter(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return images + 0.1 * torch.rand(len(images), 1, 1, 1, generator=generator)


def unseeded(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return images * torch.rand(len(images), 1, 1, 1)


def in_place(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return images.mul_(0.5)


def one_for_all(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return images * torch.rand((), generator=generator)


VIOLATORS = [brighter, unseeded, in_place, one_for_all]


@pytest.mark.parametrize(("law", "wrong"), list(zip(AUGMENT_LAWS, VIOLATORS, strict=True)))
def test_an_augmentation_that_breaks_a_law_is_seen(law: AugmentLaw, wrong: Any) -> None:
    with pytest.raises(AssertionError):
        law(wrong, colourful(3)[3:])


# Methods


@pytest.mark.parametrize("name", METHODS)
def test_an_objective_reaches_the_encoder_and_keeps_its_state(name: str) -> None:
    """One finite scalar with gradients, figures of the same names in every step, and a state that can be restored."""
    method = METHODS[name](epochs=1, batch_size=8)
    torch.manual_seed(0)
    encoder = MODELS["mlp"](width=8, depth=1).build((1, 4, 4), 3 if method.classifies else 0)
    if not method.trains:
        return
    objective = method.objective(encoder, 3)
    views = tuple(torch.rand(8, 1, 4, 4) for _ in range(method.n_views))
    labels = torch.arange(8) % 3 if method.needs_labels else None
    names = []
    for _ in range(2):
        loss, figures = objective.loss(encoder.module, Batch(views, labels, torch.arange(8)))
        assert loss.shape == ()
        assert torch.isfinite(loss)
        assert not any(value.requires_grad for value in figures.values()), "figures keep the graph alive"
        loss.backward()
        objective.after_step(encoder.module)
        names.append(sorted(figures))
    assert names[0] == names[1]
    assert all(parameter.grad is not None for parameter in encoder.module.parameters())
    again = method.objective(encoder, 3)
    again.load_state_dict(objective.state_dict())
    assert all(isinstance(getattr(objective, head), nn.Sequential) for head in objective.heads)
    inside = {id(parameter) for parameter in objective.parameters()}
    assert not inside & {id(parameter) for parameter in encoder.module.parameters()}, "it would be saved twice"


@pytest.mark.parametrize("name", METHODS)
def test_milestones_are_epochs_of_the_training(name: str) -> None:
    assert METHODS[name](epochs=5, milestones=2).milestone_epochs() == (0, 2, 4)
    assert METHODS[name](epochs=5, milestones=(5, 0, 0)).milestone_epochs() == (0, 5)
    with pytest.raises(ValueError, match="milestones"):
        METHODS[name](epochs=5, milestones=(6,))


# Optimisers


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_goes_downhill_and_its_rate_stays_below_lr(name: str, schedule: str) -> None:
    """A parabola's minimum is approached; the rate never exceeds `lr` and is a pure function of the step."""
    chosen = OPTIMIZERS[name](lr=0.05, schedule=schedule)
    weights = nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer, rates = chosen.build([weights], steps_per_epoch=20, epochs=10)
    assert [rates(step) for step in range(200)] == [rates(step) for step in range(200)]
    for step in range(200):
        settings = rates(step)
        assert 0 <= settings["lr"] <= 0.05 * (1 + 1e-9)
        for group in optimizer.param_groups:
            assert set(settings) <= set(group), "a setting that torch's optimiser does not have"
            group.update(settings)
        loss = weights.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(weights.detach().square().sum()) < 1.0 < 13.0


# Data sets


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_data_set_declares_what_a_plan_needs(name: str) -> None:
    dataset = IMAGES[name]
    channels, height, width = dataset.input_shape
    assert min(channels, height, width) >= 1
    assert len(dataset.mean) == len(dataset.std) == channels
    assert min(dataset.std) > 0
    assert set(dataset.sizes) == set(SPLITS)
    assert len(set(dataset.class_names)) == len(dataset.class_names) >= 2


def loaded_or_fault(dataset: ImageDataset, split: Split) -> Samples | UserError:
    try:
        return dataset.load(split)
    except UserError as error:
        return error


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_data_set_loads_what_it_declares_or_says_what_is_missing(name: str, tmp_path: Path) -> None:
    dataset = type(IMAGES[name])(root=str(tmp_path / "nowhere"), download=False)
    for split in SPLITS:
        samples = loaded_or_fault(dataset, split)
        if isinstance(samples, UserError):
            assert "nowhere" in f"{samples.message} {samples.hint}"
            continue
        assert samples.images.shape == (dataset.sizes[split], *dataset.input_shape)
        assert set(np.unique(samples.labels)) == set(range(len(dataset.class_names)))
        np.testing.assert_array_equal(samples.ids, np.arange(len(samples)))
        assert all(":" in checksum for checksum in dataset.checksums().values())
    assert not (tmp_path / "nowhere").exists(), "looking for data made a folder"


@pytest.mark.parametrize("name", IMAGES)
def test_where_the_data_lies_is_no_part_of_a_result(name: str) -> None:
    from rra_cli.core.fields import identity_of

    cls = type(IMAGES[name])
    here, there = cls(root="a", download=False), cls(root="b", download=True)
    assert identity_of(here) == identity_of(there)
    assert identity_of(here) != identity_of(dataclasses.replace(here, train_size=3))
