"""Each operation is torchvision's functional of the same name, applied image by image with that image's parameter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rra_cli.data import augment_draws as draws
from rra_cli.data import augment_ops as ops
from rra_cli.data.torchvision_import import import_torchvision

F = import_torchvision().transforms.v2.functional
BILINEAR = import_torchvision().transforms.InterpolationMode.BILINEAR
N = 24
SHAPES = [(3, 32, 32), (3, 9, 14), (1, 28, 28), (1, 8, 8)]
Shape = tuple[int, int, int]


def uniform(low: float, high: float) -> Tensor:
    """N parameters over the range, both ends included."""
    return torch.linspace(low, high, N)[torch.randperm(N, generator=torch.Generator().manual_seed(1))]


def integers(most: int) -> Tensor:
    return uniform(-most, most).round().long()


def random(columns: int) -> Tensor:
    return torch.rand(N, columns, generator=torch.Generator().manual_seed(5))


def images(channels: int, height: int, width: int) -> Tensor:
    """Noise, and what noise does not have: black, white, grey, pure colours, equal pairs of channels."""
    made = torch.rand(N, channels, height, width, generator=torch.Generator().manual_seed(0))
    made[0], made[1], made[2] = 0, 1, 0.3
    made[3:6] = (made[3:6] > 0.5).float()
    made[6:9] = (made[6:9] * 4).round() / 4
    return made


def boxes(shape: Shape) -> tuple[Tensor, ...]:
    """Top, left, height and width of boxes of any size from one pixel to the whole image."""
    sizes = torch.tensor(shape[1:])
    size = 1 + (random(2) * sizes).floor()
    size[0], size[1] = 1, sizes
    start = (random(4)[:, 2:] * (sizes - size + 1)).floor()
    return tuple(torch.cat((start, size), dim=1).long().unbind(dim=1))


def corners(distortion: float) -> Callable[[Shape], tuple[Tensor, ...]]:
    return lambda shape: (draws.corners(random(8), distortion, *shape[1:]),)


def tilted(image: Tensor, there: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    here = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
    return F.perspective(image, here, there.tolist(), interpolation=BILINEAR)


def padded_crop(image: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """A crop of the image's size from the image with a margin of 4: its top left corner is (4 - dx, 4 - dy)."""
    return F.crop(F.pad(image, [4, 4]), 4 - int(dy), 4 - int(dx), *image.shape[-2:])


def blur_of(size: int) -> tuple[Callable, Callable]:
    def ours(x: Tensor, sigma: Tensor) -> Tensor:
        return ops.gaussian_blur(x, sigma, size)

    def theirs(x: Tensor, sigma: Tensor) -> Tensor:
        return F.gaussian_blur(x, [size, size], [float(sigma)])

    return ours, theirs


def given(*parameters: Tensor) -> Callable[[Shape], tuple[Tensor, ...]]:
    return lambda shape: parameters


# ours (batch, parameters), theirs (image, parameter), parameters by the images' shape
CASES: dict[str, tuple[Callable, Callable, Callable[[Shape], tuple[Tensor, ...]]]] = {
    "resized_crop": (
        ops.resized_crop,
        # torch 2.13 repeats the first row where it stretches an image one pixel wide with antialias.
        lambda x, *box: F.resized_crop(x, *map(int, box), list(x.shape[-2:]), antialias=x.shape[-1] > 1),
        boxes,
    ),
    "translate": (
        ops.translate,
        lambda x, dx, dy: F.affine(x, angle=0.0, translate=[int(dx), int(dy)], scale=1.0, shear=[0.0, 0.0]),
        given(integers(4), integers(4).flip(0)),
    ),
    "crop with padding": (ops.translate, padded_crop, given(integers(4), integers(4).flip(0))),
    "flip": (ops.flip, lambda x, on: F.horizontal_flip(x) if on else x, given(uniform(0, 1) < 0.5)),
    "vertical_flip": (ops.vertical_flip, lambda x, on: F.vertical_flip(x) if on else x, given(uniform(0, 1) < 0.5)),
    "rotate": (ops.rotate, lambda x, a: F.rotate(x, float(a), interpolation=BILINEAR), given(uniform(-15, 15))),
    "rotate far": (ops.rotate, lambda x, a: F.rotate(x, float(a), interpolation=BILINEAR), given(uniform(-180, 180))),
    "perspective": (ops.perspective, tilted, corners(0.5)),
    "perspective weak": (ops.perspective, tilted, corners(0.26)),
    "brightness": (ops.brightness, lambda x, f: F.adjust_brightness(x, float(f)), given(uniform(0, 2))),
    "contrast": (ops.contrast, lambda x, f: F.adjust_contrast(x, float(f)), given(uniform(0, 2))),
    "saturation": (ops.saturation, lambda x, f: F.adjust_saturation(x, float(f)), given(uniform(0, 2))),
    "hue": (ops.hue, lambda x, f: F.adjust_hue(x, float(f)), given(uniform(-0.5, 0.5))),
    "grayscale": (
        ops.grayscale,
        lambda x, on: F.rgb_to_grayscale(x, num_output_channels=x.shape[0]) if on else x,
        given(uniform(0, 1) < 0.5),
    ),
    "solarize": (ops.solarize, lambda x, t: F.solarize(x, float(t)), given(uniform(0, 1))),
    "blur 3": (*blur_of(3), given(uniform(0.1, 2.0))),
    "blur 5": (*blur_of(5), given(uniform(0.1, 2.0))),
}
GREY_UNCHANGED = ("saturation", "hue", "grayscale")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_equal_to_torchvision_image_by_image(name: str, shape: Shape) -> None:
    ours, theirs, parameters_of = CASES[name]
    batch, parameters = images(*shape), parameters_of(shape)
    before = batch.clone()
    result = ours(batch, *parameters)
    # In float64: in float32 torchvision's own warps are off by up to 7e-6.
    expected = torch.stack([theirs(batch[i].double(), *(p[i] for p in parameters)) for i in range(N)]).float()
    assert result.shape == batch.shape
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
    assert torch.equal(batch, before)  # the input is left alone
    torch.testing.assert_close(  # so is its order in memory, whatever it is
        ours(batch.contiguous(memory_format=torch.channels_last), *parameters), result, rtol=0, atol=1e-6
    )
    # Negative control: with the parameters of other samples it is another result (on grey, colour has none).
    if not (shape[0] == 1 and name in GREY_UNCHANGED):
        shifted = ours(batch, *(p.roll(7, dims=0) for p in parameters))
        assert (shifted - expected).abs().max() > 0.1


@pytest.mark.parametrize("name", [name for name in CASES if "blur" not in name])
@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 1, 1), (3, 1, 6), (1, 6, 1)], ids=str)
def test_images_of_one_pixel_or_one_row(name: str, shape: Shape) -> None:
    """The same, where something is left to interpolate between: torchvision's lines through equal corners are not."""
    ours, theirs, parameters_of = CASES[name]
    batch, parameters = images(*shape), parameters_of(shape)
    result = ours(batch, *parameters)
    assert torch.isfinite(result).all()
    if "perspective" in name:
        torch.testing.assert_close(result, batch, rtol=0, atol=1e-5)
    else:
        expected = torch.stack([theirs(batch[i], *(p[i] for p in parameters)) for i in range(N)])
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("change", [ops.saturation, ops.hue])
def test_colour_changes_leave_grey_images_alone(change: Callable) -> None:
    grey = images(1, 8, 8)
    assert torch.equal(change(grey, torch.full((N,), 0.3)), grey)
    assert torch.equal(ops.grayscale(grey, torch.ones(N, dtype=torch.bool)), grey)


def test_what_comes_in_by_translation_rotation_and_perspective_is_black() -> None:
    white = torch.ones(1, 3, 8, 8)
    moved = ops.translate(white, torch.tensor([3]), torch.tensor([-2]))[0, 0]
    expected = torch.zeros(8, 8)
    expected[:6, 3:] = 1
    assert torch.equal(moved, expected)
    assert not ops.translate(white, torch.tensor([9]), torch.tensor([0])).any()
    assert ops.rotate(white, torch.tensor([45.0]))[0, 0, 0, 0] == 0
    tilted_in = ops.perspective(white, torch.tensor([[[3, 3], [7, 0], [7, 7], [0, 7]]]))[0, 0]
    assert tilted_in[0, 0] == 0
    assert tilted_in[5, 5] == 1


def test_a_rotation_by_a_right_angle_is_the_transposed_mirror() -> None:
    x = images(3, 8, 8)
    turned = ops.rotate(x, torch.full((N,), 90.0))
    torch.testing.assert_close(turned, torch.rot90(x, 1, (2, 3)), rtol=0, atol=1e-5)


def test_hue_by_a_third_of_the_circle_permutes_the_channels() -> None:
    x = images(3, 8, 8)
    torch.testing.assert_close(ops.hue(x, torch.full((N,), 1 / 3)), x[:, [2, 0, 1]], rtol=0, atol=1e-5)


def test_a_crop_of_the_whole_image_and_corners_that_stay_change_nothing() -> None:
    x = images(3, 9, 14)
    zero, height, width = (torch.full((N,), value) for value in (0, 9, 14))
    torch.testing.assert_close(ops.resized_crop(x, zero, zero, height, width), x, rtol=0, atol=1e-5)
    there = torch.tensor([[0, 0], [13, 0], [13, 8], [0, 8]]).expand(N, -1, -1)
    torch.testing.assert_close(ops.perspective(x, there), x, rtol=0, atol=1e-5)


def test_a_crop_shows_nothing_from_outside_of_its_box() -> None:
    x = torch.zeros(1, 1, 8, 8)
    x[:, :, 2:5, 3:7] = 0.7
    box = [torch.tensor([value]) for value in (2, 3, 3, 4)]
    torch.testing.assert_close(ops.resized_crop(x, *box), torch.full_like(x, 0.7), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "there",
    [
        [[7, 0], [0, 0], [0, 7], [7, 7]],  # mirrored
        [[7, 7], [7, 0], [7, 7], [0, 7]],  # two corners in one place
        [[4, 3], [7, 0], [7, 7], [0, 7]],  # three on a line
        [[6, 6], [7, 0], [7, 7], [0, 7]],  # folded
    ],
)
def test_corners_of_no_convex_quadrilateral_leave_the_image(there: list[list[int]]) -> None:
    x = images(3, 8, 8)
    torch.testing.assert_close(ops.perspective(x, torch.tensor(there).expand(N, -1, -1)), x, rtol=0, atol=1e-5)


def test_a_horizon_within_the_frame_is_black_and_finite() -> None:
    """The far side so short that the lines of sight meet a few pixels above it, inside of the frame."""
    white = torch.ones(1, 1, 32, 32)
    there = torch.tensor([[[15, 12], [16, 12], [31, 31], [0, 31]]])
    result = ops.perspective(white, there)[0, 0]
    assert torch.isfinite(result).all()
    assert not result[:11].any()
    assert result[25, 16] == 1


def test_a_change_of_the_chosen_is_made_to_them_only() -> None:
    x, chosen = images(3, 8, 8), uniform(0, 1) < 0.4
    parameter = uniform(0, 2)
    changed = ops.on_chosen(x, chosen, ops.brightness, parameter)
    assert torch.equal(changed[~chosen], x[~chosen])
    assert torch.equal(changed[chosen], ops.brightness(x, parameter)[chosen])
    everyone = torch.ones(N, dtype=torch.bool)
    assert torch.equal(ops.on_chosen(x, everyone, ops.brightness, parameter), ops.brightness(x, parameter))
    assert torch.equal(ops.on_chosen(x, ~everyone, ops.brightness, parameter), x)
