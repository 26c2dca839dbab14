"""Each operation is torchvision's functional of the same name, applied image by image with that image's parameter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rra_cli.data import augment_ops as ops
from rra_cli.data.torchvision_import import import_torchvision

F = import_torchvision().transforms.v2.functional
BILINEAR = import_torchvision().transforms.InterpolationMode.BILINEAR
N = 24


def uniform(low: float, high: float) -> Tensor:
    """N parameters over the range, both ends included."""
    return torch.linspace(low, high, N)[torch.randperm(N, generator=torch.Generator().manual_seed(1))]


def integers(most: int) -> Tensor:
    return uniform(-most, most).round().long()


def images(channels: int, height: int, width: int) -> Tensor:
    """Noise, and what noise does not have: black, white, grey, pure colours, equal pairs of channels."""
    made = torch.rand(N, channels, height, width, generator=torch.Generator().manual_seed(0))
    made[0], made[1], made[2] = 0, 1, 0.3
    made[3:6] = (made[3:6] > 0.5).float()
    made[6:9] = (made[6:9] * 4).round() / 4
    return made


def blur_of(size: int) -> tuple[Callable, Callable]:
    def ours(x: Tensor, sigma: Tensor) -> Tensor:
        return ops.gaussian_blur(x, sigma, size)

    def theirs(x: Tensor, sigma: Tensor) -> Tensor:
        return F.gaussian_blur(x, [size, size], [float(sigma)])

    return ours, theirs


# ours (batch, parameters), theirs (image, parameter), parameters
CASES: dict[str, tuple[Callable, Callable, tuple[Tensor, ...]]] = {
    "translate": (
        ops.translate,
        lambda x, dx, dy: F.affine(x, angle=0.0, translate=[int(dx), int(dy)], scale=1.0, shear=[0.0, 0.0]),
        (integers(4), integers(4).flip(0)),
    ),
    "flip": (ops.flip, lambda x, on: F.horizontal_flip(x) if on else x, (uniform(0, 1) < 0.5,)),
    "rotate": (ops.rotate, lambda x, a: F.rotate(x, float(a), interpolation=BILINEAR), (uniform(-15, 15),)),
    "rotate far": (ops.rotate, lambda x, a: F.rotate(x, float(a), interpolation=BILINEAR), (uniform(-180, 180),)),
    "brightness": (ops.brightness, lambda x, f: F.adjust_brightness(x, float(f)), (uniform(0, 2),)),
    "contrast": (ops.contrast, lambda x, f: F.adjust_contrast(x, float(f)), (uniform(0, 2),)),
    "saturation": (ops.saturation, lambda x, f: F.adjust_saturation(x, float(f)), (uniform(0, 2),)),
    "hue": (ops.hue, lambda x, f: F.adjust_hue(x, float(f)), (uniform(-0.5, 0.5),)),
    "grayscale": (
        ops.grayscale,
        lambda x, on: F.rgb_to_grayscale(x, num_output_channels=x.shape[0]) if on else x,
        (uniform(0, 1) < 0.5,),
    ),
    "blur 3": (*blur_of(3), (uniform(0.1, 2.0),)),
    "blur 5": (*blur_of(5), (uniform(0.1, 2.0),)),
}


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 9, 14), (1, 28, 28), (1, 8, 8)], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_equal_to_torchvision_image_by_image(name: str, shape: tuple[int, int, int]) -> None:
    ours, theirs, parameters = CASES[name]
    batch = images(*shape)
    before = batch.clone()
    result = ours(batch, *parameters)
    expected = torch.stack([theirs(batch[i], *(p[i] for p in parameters)) for i in range(N)])
    assert result.shape == batch.shape
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
    assert torch.equal(batch, before)  # the input is left alone
    # Negative control: with the parameters of other samples it is another result (on grey, colour has none).
    if not (shape[0] == 1 and name in ("saturation", "hue", "grayscale")):
        shifted = ours(batch, *(p.roll(7) for p in parameters))
        assert (shifted - expected).abs().max() > 0.1


@pytest.mark.parametrize("change", [ops.saturation, ops.hue])
def test_colour_changes_leave_grey_images_alone(change: Callable) -> None:
    grey = images(1, 8, 8)
    assert torch.equal(change(grey, torch.full((N,), 0.3)), grey)
    assert torch.equal(ops.grayscale(grey, torch.ones(N, dtype=torch.bool)), grey)


def test_what_comes_in_by_translation_and_rotation_is_black() -> None:
    white = torch.ones(1, 3, 8, 8)
    moved = ops.translate(white, torch.tensor([3]), torch.tensor([-2]))[0, 0]
    expected = torch.zeros(8, 8)
    expected[:6, 3:] = 1
    assert torch.equal(moved, expected)
    assert ops.rotate(white, torch.tensor([45.0]))[0, 0, 0, 0] == 0


def test_a_rotation_by_a_right_angle_is_the_transposed_mirror() -> None:
    x = images(3, 8, 8)
    turned = ops.rotate(x, torch.full((N,), 90.0))
    torch.testing.assert_close(turned, torch.rot90(x, 1, (2, 3)), rtol=0, atol=1e-5)


def test_hue_by_a_third_of_the_circle_permutes_the_channels() -> None:
    x = images(3, 8, 8)
    torch.testing.assert_close(ops.hue(x, torch.full((N,), 1 / 3)), x[:, [2, 0, 1]], rtol=0, atol=1e-5)
