"""Views: per sample, from one generator, each part alone or all in the documented order; the sets of `conf/augment`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from rra_cli.config.compose import load
from rra_cli.data import augment_draws as draws
from rra_cli.data import augment_ops as ops
from rra_cli.data.augment import NoAugment
from rra_cli.data.augment_policy import auto_augment, choose
from rra_cli.data.augment_views import RandomViews
from rra_cli.data.torchvision_import import import_torchvision

v2 = import_torchvision().transforms.v2
CONF = Path(__file__).parents[3] / "conf" / "augment"

# Each part alone, with the settings that switch it on.
PARTS: dict[str, dict[str, Any]] = {
    "crop_scale": {"crop_scale": (0.2, 1.0)},
    "translate": {"translate": 4},
    "flip": {"flip": 0.5},
    "vertical_flip": {"vertical_flip": 0.5},
    "rotation": {"rotation": 15.0},
    "perspective": {"perspective": 0.5},
    "auto_augment": {"auto_augment": True},
    "color": {"color": 0.8},
    "grayscale": {"grayscale": 0.2},
    "blur": {"blur": 1.0},
    "solarize": {"solarize": 0.5},
}
ALL = {key: value for settings in PARTS.values() for key, value in settings.items()}
OFF = {name: False if name == "auto_augment" else None for name in PARTS}
RRA = RandomViews(translate=4, flip=0.5, rotation=15.0, color=0.8, grayscale=0.2, blur=1.0)
COLOR = ("brightness", "contrast", "saturation", "hue")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(n: int = 64, channels: int = 3, size: int = 32) -> torch.Tensor:
    """Values of 8-bit images, as data sets have them."""
    return torch.randint(0, 256, (n, channels, size, size), generator=generator(99)).float() / 255


def distinct(images: torch.Tensor) -> int:
    return len({image.numpy().tobytes() for image in images})


def test_all_off_is_the_default_and_changes_nothing() -> None:
    x = batch()
    assert torch.equal(RandomViews()(x, generator()), x)
    assert torch.equal(RandomViews(**OFF)(x, generator()), x)
    assert NoAugment()(x, generator()) is x
    assert NoAugment()(x, generator(), view=1) is x
    zeros = {name: 0 for name in PARTS if name not in ("auto_augment", "crop_scale")}
    assert torch.equal(RandomViews(**zeros)(x, generator()), x)
    assert torch.equal(RandomViews(perspective=0.5, perspective_p=0.0)(x, generator()), x)


@pytest.mark.parametrize("part", PARTS)
def test_equal_samples_of_one_batch_are_changed_differently(part: str) -> None:
    same = batch(1).expand(64, -1, -1, -1)
    n_different = distinct(RandomViews(**PARTS[part])(same, generator()))
    if part in ("flip", "vertical_flip", "grayscale", "solarize"):
        assert n_different == 2
    else:
        assert n_different > 25
    # Negative control: with the part off all stay equal.
    assert distinct(RandomViews(**{**PARTS[part], part: OFF[part]})(same, generator())) == 1


def test_torchvision_on_a_batch_draws_once() -> None:
    """Why this is not done with torchvision: its transforms change all samples of a batch alike."""
    same = batch(1).expand(64, -1, -1, -1)
    torch.manual_seed(0)
    theirs = v2.Compose([v2.RandomResizedCrop(32), v2.RandomHorizontalFlip(), v2.ColorJitter(0.4, 0.4, 0.4, 0.1)])
    assert distinct(theirs(same)) == 1
    assert distinct(RandomViews(crop_scale=(0.08, 1.0), flip=0.5, color=1.0)(same, generator())) == 64


@pytest.mark.parametrize("augment", [RRA, RandomViews(**ALL)], ids=["rra", "all"])
def test_the_generator_decides_everything(augment: RandomViews) -> None:
    x = batch()
    first, second = augment(x, g := generator(5)), augment(x, g)
    assert torch.equal(first, augment(x, generator(5)))
    assert not torch.equal(first, second)
    assert not torch.equal(first, augment(x, generator(6)))
    torch.manual_seed(123)  # the global generator has no say
    assert torch.equal(first, augment(x, generator(5)))


def test_a_resumed_generator_goes_on_where_it_was() -> None:
    x, augment, g = batch(), RandomViews(**ALL), generator(5)
    augment(x, g)
    state = g.get_state()
    second = augment(x, g)
    resumed = torch.Generator()
    resumed.set_state(state)
    assert torch.equal(second, augment(x, resumed))


def test_a_sample_does_not_see_the_others() -> None:
    """Only its place in the batch decides what happens to it, not what else is in the batch."""
    x = batch()
    other = x.flip(0)
    other[10] = x[10]
    views = [RandomViews(**ALL)(images, generator(2)) for images in (x, other)]
    assert torch.equal(views[0][10], views[1][10])
    assert not torch.equal(views[0][11], views[1][11])


@pytest.mark.parametrize("part", PARTS)
def test_switching_one_part_off_leaves_the_parameters_of_the_others(part: str) -> None:
    """Two runs that differ in one part are paired: the generator goes on alike, and all else happens alike."""
    g, h = generator(1), generator(1)
    RandomViews(**ALL)(batch(), g)
    RandomViews(**{**ALL, part: OFF[part]})(batch(), h)
    assert torch.equal(g.get_state(), h.get_state())


def test_rra_is_what_it_has_always_been() -> None:
    """The sixteen numbers of a sample and what follows from them: stored trainings with `augment=rra` rest on it."""
    x = batch()
    u = torch.rand((64, 16), generator=generator(3)).unbind(dim=1)
    y = ops.translate(x, (u[0] * 9).floor().long() - 4, (u[1] * 9).floor().long() - 4)
    y = ops.rotate(ops.flip(y, u[2] < 0.5), 15.0 * (2 * u[3] - 1))
    changes = [
        (ops.brightness, 1.0 + 0.4 * (2 * u[9] - 1)),
        (ops.contrast, 1.0 + 0.4 * (2 * u[10] - 1)),
        (ops.saturation, 1.0 + 0.2 * (2 * u[11] - 1)),
        (ops.hue, 0.1 * (2 * u[12] - 1)),
    ]
    order = torch.stack(u[5:9], dim=1).argsort(dim=1)
    for i in range(64):
        if u[4][i] < 0.8:
            for which in order[i].tolist():
                change, parameter = changes[which]
                y[i : i + 1] = change(y[i : i + 1], parameter[i : i + 1])
    expected = ops.gaussian_blur(ops.grayscale(y, u[13] < 0.2), 0.1 + 1.9 * u[15], 3)
    torch.testing.assert_close(RRA(x, generator(3)), expected, rtol=0, atol=1e-6)
    assert (RRA(x, generator(4)) - expected).abs().max() > 0.1


def test_all_parts_are_applied_in_the_documented_order() -> None:
    x = batch()
    augment = RandomViews(**{**ALL, "perspective_p": 1.0, "color": None, "blur": 0.5, "grayscale": 0.5})
    u = draws.draw(64, generator(3))
    y = ops.resized_crop(x, *draws.crop_boxes(u["crop"], (0.2, 1.0), (3 / 4, 4 / 3), 32, 32))
    y = ops.translate(y, *draws.shifts(4, u["translate"]).unbind(dim=1))
    y = ops.vertical_flip(ops.flip(y, u["flip"] < 0.5), u["vertical_flip"] < 0.5)
    y = ops.rotate(y, draws.around(0.0, 15.0, u["rotation"]))
    y = ops.perspective(y, draws.corners(u["corners"], 0.5, 32, 32))
    y = auto_augment(y.clamp(0, 1), choose(u["auto_augment"]))
    y = ops.grayscale(y, u["grayscale"] < 0.5)
    sharp = u["blur"] >= 0.5
    y = torch.where(sharp.view(-1, 1, 1, 1), y, ops.gaussian_blur(y, 0.1 + 1.9 * u["sigma"], 3))
    y = torch.where((u["solarize"] < 0.5).view(-1, 1, 1, 1) & (y >= 0.5), 1 - y, y)
    torch.testing.assert_close(augment(x, generator(3)), y, rtol=0, atol=1e-6)


@pytest.mark.parametrize("part", COLOR)
def test_the_parts_of_the_colour_jitter_are_switched_off_alone(part: str) -> None:
    none = dict.fromkeys(COLOR)
    assert torch.equal(RandomViews(color=1.0, **none)(batch(), generator()), batch())
    u = draws.draw(64, generator())[part]
    parameter = draws.around(0.0, 0.3, u) if part == "hue" else draws.factors(0.3, u)
    changed = RandomViews(color=1.0, **{**none, part: 0.3})(batch(), generator())
    assert torch.equal(changed, getattr(ops, part)(batch(), parameter))


def test_the_second_view_is_like_the_first_unless_told() -> None:
    x = batch()
    augment = RandomViews(blur=0.5, solarize=0.5)
    assert torch.equal(augment(x, generator(), view=1), augment(x, generator()))
    unlike = RandomViews(blur=1.0, solarize=0.0, second_blur=0.0, second_solarize=1.0)
    first, second = unlike(x, generator()), unlike(x, generator(), view=1)
    assert torch.equal(first, RandomViews(blur=1.0)(x, generator()))
    assert torch.equal(second, RandomViews(solarize=1.0)(x, generator()))


def test_the_share_of_changed_samples_is_the_probability() -> None:
    x = batch(1, size=8).expand(20_000, -1, -1, -1)
    five_sigma = 5 * (0.3 * 0.7 / 20_000) ** 0.5
    for settings in (
        {"flip": 0.3},
        {"vertical_flip": 0.3},
        {"color": 0.3},
        {"grayscale": 0.3},
        {"blur": 0.3},
        {"solarize": 0.3},
    ):
        changed = (RandomViews(**settings)(x, generator()) != x).flatten(1).any(dim=1)
        assert abs(float(changed.float().mean()) - 0.3) < five_sigma, settings


@pytest.mark.parametrize("channels", [1, 3])
def test_shape_type_range_and_input_are_kept(channels: int) -> None:
    x = batch(50, channels)
    before = x.clone()
    augment = RandomViews(**{**ALL, "brightness": 3.0, "contrast": 3.0})
    y = augment(x, generator())
    assert (y.shape, y.dtype) == (x.shape, torch.float32)
    assert y.min() >= 0
    assert y.max() <= 1
    assert torch.equal(x, before)
    # Without AutoAugment, whose rounding to 8 bits makes steps of the last bits, the order in memory has no say.
    augment = dataclasses.replace(augment, auto_augment=False)
    y, z = (
        augment(x.contiguous(memory_format=order), generator())
        for order in (torch.contiguous_format, torch.channels_last)
    )
    torch.testing.assert_close(z, y, rtol=0, atol=1e-5)


def test_grey_images_change_in_brightness_and_contrast_only() -> None:
    x = batch(channels=1)
    colour_only = RandomViews(color=1.0, brightness=None, contrast=None, grayscale=1.0)
    assert torch.equal(colour_only(x, generator()), x)
    assert not torch.equal(RandomViews(color=1.0, contrast=None)(x, generator()), x)
    assert not torch.equal(RandomViews(color=1.0, brightness=None)(x, generator()), x)


@pytest.mark.parametrize("n", [1, 2])
def test_a_batch_of_one_image_and_of_small_ones(n: int) -> None:
    for size in (2, 3):
        y = RandomViews(**ALL)(batch(n, size=size), generator())
        assert y.shape == (n, 3, size, size)
        assert torch.isfinite(y).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flip": 1.5}, r"flip must be a probability from 0 to 1 \(0 or null switches it off\), got 1.5"),
        ({"color": -0.1}, "color must be a probability"),
        (
            {"second_blur": 1.1},
            r"second_blur must be a probability from 0 to 1 \(null: as in the first view\), got 1.1",
        ),
        ({"perspective_p": -1.0}, "perspective_p must be a probability from 0 to 1, got -1.0"),
        ({"perspective": 1.2}, "perspective must be from 0 to 1"),
        ({"solarize_threshold": 128.0}, "solarize_threshold must be from 0 to 1, got 128.0"),
        ({"translate": -1}, "translate must be 0 or more"),
        ({"contrast": -1.0}, "contrast must be 0 or more"),
        ({"rotation": 181.0}, "rotation must be from 0 to 180"),
        ({"hue": 0.6}, "hue must be from 0 to 0.5"),
        ({"crop_scale": (0.0, 1.0)}, "crop_scale must be"),
        ({"crop_scale": (0.5, 1.1)}, "crop_scale must be"),
        ({"crop_ratio": (2.0, 1.0)}, "crop_ratio must be"),
        ({"blur_sigma": (0.0, 2.0)}, "blur_sigma must be"),
        ({"blur_sigma": (2.0, 1.0)}, "blur_sigma must be"),
        ({"blur_kernel": 4}, "blur_kernel must be an odd number"),
    ],
)
def test_impossible_strengths_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RandomViews(**fields)


def test_images_of_another_kind_are_refused() -> None:
    for wrong in (torch.zeros(2, 2, 8, 8), torch.zeros(3, 8, 8), torch.zeros(2, 3, 8, 8, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="float32, got"):
            RRA(wrong, generator())


# The sets


SIMCLR = RandomViews(crop_scale=(0.08, 1.0), flip=0.5, color=0.8, saturation=0.4)
SETS = {
    "none": NoAugment(),
    "rra": RRA,
    **{part: RandomViews(**{part: getattr(RRA, part)}) for part in ("translate", "flip", "rotation", "color", "blur")},
    "grayscale": RandomViews(grayscale=0.2),
    "simclr_cifar": SIMCLR,
    "simclr_lightly": dataclasses.replace(SIMCLR, grayscale=0.2),
    "rmqm_mnist": RandomViews(rotation=15.0, perspective=0.5, perspective_p=0.8),
    "rmqm_mnist_one_view": RandomViews(perspective=0.5, perspective_p=0.5),
    "rmqm_cifar": RandomViews(crop_scale=(0.08, 1.0), flip=0.3, vertical_flip=0.3, perspective=0.2),
    "barlow": RandomViews(
        crop_scale=(0.08, 1.0), flip=0.5, color=0.8, grayscale=0.2, solarize=0.0, second_solarize=0.2
    ),
    "crop_flip": RandomViews(translate=4, flip=0.5),
    "auto_augment": RandomViews(auto_augment=True),
}


@pytest.mark.parametrize("name", sorted({path.stem for path in CONF.glob("*.yaml")}))
def test_the_yaml_files_are_the_sets(name: str) -> None:
    assert load([f"augment={name}"]).augment == SETS[name]


def test_every_set_of_the_sources_has_a_file() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} == set(SETS)
