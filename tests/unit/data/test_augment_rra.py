"""Parameters are drawn per sample, from the documented distributions, from one generator; each part alone."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from rra_cli.core.component import components
from rra_cli.data import augment_ops as ops
from rra_cli.data.augment import NoAugment
from rra_cli.data.augment_rra import Parameters, RraAugment, draw_uniform

CONF = Path(__file__).parents[3] / "conf" / "augment"
PARTS = ("translate", "flip", "rotation", "color", "grayscale", "blur")
OFF = dict.fromkeys(PARTS)
N = 20_000


def only(**fields: object) -> RraAugment:
    return RraAugment(**{**OFF, **fields})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(n: int = 64, channels: int = 3) -> torch.Tensor:
    return torch.rand(n, channels, 32, 32, generator=generator(99))


def parameters(seed: int = 0) -> Parameters:
    return RraAugment().parameters(draw_uniform(N, generator(seed)))


def test_the_parameters_have_the_ranges_and_moments_of_table_4_2() -> None:
    drawn = parameters()
    for value, centre, spread in (
        (drawn.degrees, 0.0, 15.0),
        (drawn.brightness, 1.0, 0.4),
        (drawn.contrast, 1.0, 0.4),
        (drawn.saturation, 1.0, 0.2),
        (drawn.hue, 0.0, 0.1),
        (drawn.sigma, 1.05, 0.95),
    ):
        within = (value - centre).double() / spread  # uniform in [-1, 1]: variance 1/3, of its square 4/45
        assert within.abs().max() <= 1 + 1e-5
        assert abs(within.mean()) < 5 * math.sqrt(1 / 3 / N)
        assert abs((within**2).mean() - 1 / 3) < 5 * math.sqrt(4 / 45 / N)
    for chosen, probability in ((drawn.flip, 0.5), (drawn.color, 0.8), (drawn.grayscale, 0.2), (drawn.blur, 1.0)):
        error = math.sqrt(probability * (1 - probability) / N)
        assert abs(chosen.double().mean() - probability) <= 5 * error
    for shift in (drawn.dx, drawn.dy):
        counts = torch.bincount(shift + 4, minlength=9)
        assert len(counts) == 9  # -4 .. 4, each as often
        assert ((counts - N / 9).abs() < 5 * math.sqrt(N * 8 / 81)).all()
    orders = (drawn.order * torch.tensor([64, 16, 4, 1])).sum(dim=1).unique(return_counts=True)[1]
    assert len(orders) == 24  # every order of the four, each as often
    assert ((orders - N / 24).abs() < 5 * math.sqrt(N * 23 / 576)).all()


def test_parameters_are_uncorrelated_between_parts_and_between_samples() -> None:
    drawn = parameters()
    values = [getattr(drawn, f.name).double() for f in dataclasses.fields(drawn) if f.name not in ("order", "blur")]
    correlation = torch.corrcoef(torch.stack(values)) - torch.eye(len(values))
    assert correlation.abs().max() < 5 / math.sqrt(N)
    for value in values:
        assert abs(torch.corrcoef(torch.stack([value[1:], value[:-1]]))[0, 1]) < 5 / math.sqrt(N)


@pytest.mark.parametrize("part", PARTS)
def test_equal_samples_of_one_batch_are_changed_differently(part: str) -> None:
    same = batch(1).expand(64, -1, -1, -1)
    changed = only(**{part: getattr(RraAugment(), part)})(same, generator())
    n_different = len({image.numpy().tobytes() for image in changed})
    assert n_different == 2 if part in ("flip", "grayscale") else n_different > 40
    # Negative control: with the part off all stay equal.
    assert len({image.numpy().tobytes() for image in only()(same, generator())}) == 1


def test_the_generator_decides_everything() -> None:
    x, augment = batch(), RraAugment()
    first, second = augment(x, g := generator(5)), augment(x, g)
    assert torch.equal(first, augment(x, generator(5)))
    assert not torch.equal(first, second)
    assert not torch.equal(first, augment(x, generator(6)))
    torch.manual_seed(123)  # the global generator has no say
    assert torch.equal(first, augment(x, generator(5)))


def test_a_resumed_generator_goes_on_where_it_was() -> None:
    x, augment, g = batch(), RraAugment(), generator(5)
    augment(x, g)
    state = g.get_state()
    second = augment(x, g)
    resumed = torch.Generator()
    resumed.set_state(state)
    assert torch.equal(second, augment(x, resumed))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("off", [None, 0])
def test_switching_one_part_off_leaves_the_parameters_of_the_others(part: str, off: int | None) -> None:
    uniform = draw_uniform(100, generator())
    whole, without = RraAugment().parameters(uniform), RraAugment(**{part: off}).parameters(uniform)
    changed = {
        f.name for f in dataclasses.fields(whole) if not torch.equal(getattr(whole, f.name), getattr(without, f.name))
    }
    assert changed == {"translate": {"dx", "dy"}, "rotation": {"degrees"}}.get(part, {part})
    g, h = generator(1), generator(1)
    RraAugment()(batch(), g)
    RraAugment(**{part: off})(batch(), h)
    assert torch.equal(g.get_state(), h.get_state())


def test_all_parts_are_applied_in_the_documented_order() -> None:
    x, augment = batch(), RraAugment()
    p = augment.parameters(draw_uniform(64, generator(3)))
    y = ops.rotate(ops.flip(ops.translate(x, p.dx, p.dy), p.flip), p.degrees)
    changes = [
        (ops.brightness, p.brightness),
        (ops.contrast, p.contrast),
        (ops.saturation, p.saturation),
        (ops.hue, p.hue),
    ]
    for i in range(64):
        if p.color[i]:
            for which in p.order[i].tolist():
                change, factor = changes[which]
                y[i : i + 1] = change(y[i : i + 1], factor[i : i + 1])
    expected = ops.gaussian_blur(ops.grayscale(y, p.grayscale), p.sigma, 3)
    torch.testing.assert_close(augment(x, generator(3)), expected, rtol=0, atol=1e-6)
    assert (augment(x, generator(4)) - expected).abs().max() > 0.1


@pytest.mark.parametrize("part", ["brightness", "contrast", "saturation", "hue"])
def test_the_parts_of_the_colour_jitter_are_switched_off_alone(part: str) -> None:
    parts = {"brightness": None, "contrast": None, "saturation": None, "hue": None}
    assert torch.equal(only(color=1.0, **parts)(batch(), generator()), batch())
    p = (augment := only(color=1.0, **{**parts, part: 0.3})).parameters(draw_uniform(64, generator()))
    assert torch.equal(augment(batch(), generator()), getattr(ops, part)(batch(), getattr(p, part)))


def test_nothing_on_changes_nothing() -> None:
    x = batch()
    assert torch.equal(only()(x, generator()), x)
    assert NoAugment()(x, generator()) is x
    assert torch.equal(RraAugment(**dict.fromkeys(PARTS, 0))(x, generator()), x)


@pytest.mark.parametrize("channels", [1, 3])
def test_shape_type_range_and_input_are_kept(channels: int) -> None:
    x = batch(50, channels)
    before = x.clone()
    y = RraAugment(brightness=3.0, contrast=3.0)(x, generator())
    assert (y.shape, y.dtype) == (x.shape, torch.float32)
    assert y.min() >= 0
    assert y.max() <= 1
    assert torch.equal(x, before)
    # Batches may come channels-last: the same values.
    torch.testing.assert_close(
        RraAugment(brightness=3.0, contrast=3.0)(x.contiguous(memory_format=torch.channels_last), generator()),
        y,
        rtol=0,
        atol=1e-6,
    )


def test_grey_images_change_in_brightness_and_contrast_only() -> None:
    x = batch(channels=1)
    colour_only = only(color=1.0, brightness=None, contrast=None, grayscale=1.0)
    assert torch.equal(colour_only(x, generator()), x)
    assert not torch.equal(only(color=1.0, contrast=None)(x, generator()), x)
    assert not torch.equal(only(color=1.0, brightness=None)(x, generator()), x)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flip": 1.5}, r"flip must be a probability from 0 to 1 \(0 or null switches it off\), got 1.5"),
        ({"color": -0.1}, "color must be a probability"),
        ({"translate": -1}, "translate must be 0 or more"),
        ({"contrast": -1.0}, "contrast must be 0 or more"),
        ({"rotation": 181.0}, "rotation must be from 0 to 180"),
        ({"hue": 0.6}, "hue must be from 0 to 0.5"),
        ({"blur_sigma": (0.0, 2.0)}, "blur_sigma must be"),
        ({"blur_sigma": (2.0, 1.0)}, "blur_sigma must be"),
        ({"blur_kernel": 4}, "blur_kernel must be an odd number"),
    ],
)
def test_impossible_strengths_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RraAugment(**fields)


def test_images_of_another_kind_are_refused() -> None:
    for wrong in (torch.zeros(2, 2, 8, 8), torch.zeros(3, 8, 8), torch.zeros(2, 3, 8, 8, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="float32, got"):
            RraAugment()(wrong, generator())


def load(name: str) -> object:
    values = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    assert isinstance(values, dict)
    if "blur_sigma" in values:
        values["blur_sigma"] = tuple(values["blur_sigma"])
    cls = components("augment")[values.pop("name")]
    assert set(values) == {field.name for field in dataclasses.fields(cls)}
    return cls(**values)


def test_the_yaml_files_are_the_set_and_each_of_its_parts() -> None:
    assert load("none") == NoAugment()
    assert load("rra") == RraAugment()
    for part in PARTS:
        assert load(part) == only(**{part: getattr(RraAugment(), part)})
    assert {path.stem for path in CONF.glob("*.yaml")} >= {"none", "rra", *PARTS}
