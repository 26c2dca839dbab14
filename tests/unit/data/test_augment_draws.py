"""Parameters have the distributions of torchvision's `make_params`, which draws one set a call."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency, ks_2samp, kstest
from torch import Tensor

from rra_cli.data import augment_draws as draws
from rra_cli.data.torchvision_import import import_torchvision

transforms = import_torchvision().transforms
v2 = transforms.v2
N = 20_000
CALLS = 3_000  # of torchvision
# Of a test that is right: one in 10,000 would fail, and the seeds are fixed. Of one that is wrong: none would pass.
LEAST_P, WRONG_P = 1e-4, 1e-8


def drawn(seed: int = 0, n: int = N) -> dict[str, Tensor]:
    return draws.draw(n, torch.Generator().manual_seed(seed))


def made(transform: object, shape: tuple[int, ...] = (3, 32, 32)) -> list[dict]:
    """What torchvision draws in `CALLS` calls, from its generator, which is torch's global one."""
    torch.manual_seed(7)
    image = torch.zeros(shape)
    return [transform.make_params([image]) for _ in range(CALLS)]  # type: ignore[attr-defined]


def same_counts(a: Tensor, b: Tensor) -> float:
    """p-value of a chi-squared test that two samples of whole numbers have one distribution."""
    low, high = int(min(a.min(), b.min())), int(max(a.max(), b.max()))
    table = np.stack([torch.bincount(x - low, minlength=high - low + 1).numpy() for x in (a, b)])
    return float(chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue)


@pytest.mark.parametrize(
    ("shape", "scale", "ratio"),
    [
        ((3, 32, 32), (0.08, 1.0), (3 / 4, 4 / 3)),
        ((3, 32, 32), (0.2, 1.0), (3 / 4, 4 / 3)),
        ((1, 20, 33), (0.3, 0.9), (0.5, 1.5)),
        ((1, 33, 20), (0.9, 1.0), (0.9, 1.1)),  # mostly the fallback
    ],
)
def test_crop_boxes_are_those_of_random_resized_crop(
    shape: tuple[int, int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    theirs = made(v2.RandomResizedCrop(shape[1:], scale=scale, ratio=ratio), shape)
    boxes = draws.crop_boxes(drawn()["crop"], scale, ratio, *shape[1:])
    ours = {name: part.double() for name, part in zip(("top", "left", "height", "width"), boxes, strict=True)}
    assert (ours["top"] >= 0).all()
    assert (ours["left"] >= 0).all()
    assert (ours["top"] + ours["height"] <= shape[1]).all()
    assert (ours["left"] + ours["width"] <= shape[2]).all()
    for name, values in ours.items():
        assert same_counts(values.long(), torch.tensor([each[name] for each in theirs])) > LEAST_P, name
    # Jointly: areas, ratios of the sides and distances from the border.
    for law in (
        lambda box: box["height"] * box["width"],
        lambda box: box["width"] / box["height"],
        lambda box: box["top"] - box["left"],
        lambda box: (shape[2] - box["width"] - box["left"]) * box["top"],
    ):
        assert ks_2samp(law(ours), [law(each) for each in theirs]).pvalue > LEAST_P
    # Negative control: another scale is seen.
    other = draws.crop_boxes(drawn()["crop"], (scale[0] + 0.1, scale[1]), ratio, *shape[1:])
    if scale[0] < 0.9:
        assert ks_2samp(other[2] * other[3], [each["height"] * each["width"] for each in theirs]).pvalue < WRONG_P


@pytest.mark.parametrize(
    ("height", "width", "ratio", "box"),
    [
        (10, 40, (3 / 4, 4 / 3), (0, 13, 10, 13)),  # too wide: the widest allowed
        (40, 10, (3 / 4, 4 / 3), (13, 0, 13, 10)),
        (32, 32, (2.0, 3.0), (8, 0, 16, 32)),
        (1, 1, (2.0, 3.0), (0, 0, 1, 1)),
        (1, 6, (3 / 4, 4 / 3), (0, 2, 1, 1)),
    ],
)
def test_where_no_box_fits_it_is_the_central_one(
    height: int, width: int, ratio: tuple[float, float], box: tuple[int, ...]
) -> None:
    """A box of the whole area with a ratio that the image does not have never fits."""
    found = torch.stack(draws.crop_boxes(drawn(n=50)["crop"], (1.0, 1.0), ratio, height, width), dim=1)
    assert torch.equal(found, torch.tensor(box).expand(50, 4))
    if min(height, width) > 1:
        theirs = v2.RandomResizedCrop((height, width), scale=(1.0, 1.0), ratio=ratio)
        params = theirs.make_params([torch.zeros(3, height, width)])
        assert tuple(params[name] for name in ("top", "left", "height", "width")) == box


@pytest.mark.parametrize(("distortion", "height", "width"), [(0.5, 28, 28), (0.2, 32, 32), (0.5, 21, 34), (1.0, 8, 8)])
def test_corners_are_those_of_random_perspective(distortion: float, height: int, width: int) -> None:
    torch.manual_seed(7)
    theirs = [transforms.RandomPerspective.get_params(width, height, distortion)[1] for _ in range(CALLS)]
    expected = torch.tensor(theirs).view(CALLS, 8)
    found = draws.corners(drawn()["corners"], distortion, height, width).view(N, 8)
    for column in range(8):
        assert torch.equal(found[:, column].unique(), expected[:, column].unique())
        assert same_counts(found[:, column], expected[:, column]) > LEAST_P
    assert (torch.corrcoef(found.T.double()) - torch.eye(8)).abs().max() < 5 / math.sqrt(N)


def test_corners_that_cannot_move_stay() -> None:
    for height, width in ((1, 1), (2, 3), (1, 9)):
        found = draws.corners(drawn(n=20)["corners"], 0.2, height, width)
        here = torch.tensor([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]])
        assert torch.equal(found, here.expand(20, 4, 2))


def test_shifts_are_those_of_a_crop_with_padding() -> None:
    theirs = made(v2.RandomCrop(32, padding=4))
    ours = draws.shifts(4, drawn()["translate"])
    assert set(ours.unique().tolist()) == set(range(-4, 5))
    for column, name in ((0, "left"), (1, "top")):
        assert same_counts(4 - ours[:, column], torch.tensor([each[name] for each in theirs])) > LEAST_P
    assert same_counts(draws.shifts(3, drawn()["translate"])[:, 0], ours[:, 0]) < WRONG_P


@pytest.mark.parametrize("strength", [0.4, 1.0, 1.5])
def test_factors_are_those_of_the_colour_jitter(strength: float) -> None:
    """Also where 1 - strength is below 0: uniform from 0, not heaped on it."""
    theirs = made(v2.ColorJitter(brightness=strength, contrast=strength, saturation=strength, hue=0.1))
    for part in ("brightness", "contrast", "saturation"):
        ours = draws.factors(strength, drawn()[part])
        low, high = max(0.0, 1 - strength), 1 + strength
        assert kstest(ours, "uniform", args=(low, high - low)).pvalue > LEAST_P
        assert ks_2samp(ours, [float(each[f"{part}_factor"]) for each in theirs]).pvalue > LEAST_P
        assert ks_2samp(draws.factors(0.9 * strength, drawn()[part]), ours).pvalue < WRONG_P
    hues = draws.around(0.0, 0.1, drawn()["hue"])
    assert ks_2samp(hues, [float(each["hue_factor"]) for each in theirs]).pvalue > LEAST_P


def test_factors_of_no_strength_are_one() -> None:
    assert torch.equal(draws.factors(None, drawn()["hue"]), torch.ones(N))
    assert torch.equal(draws.factors(0.0, drawn()["hue"]), torch.ones(N))


def test_angles_are_those_of_a_random_rotation() -> None:
    theirs = made(v2.RandomRotation(15))
    ours = draws.around(0.0, 15.0, drawn()["rotation"])
    assert ks_2samp(ours, [each["angle"] for each in theirs]).pvalue > LEAST_P
    assert ks_2samp(draws.around(0.0, 14.0, drawn()["rotation"]), ours).pvalue < WRONG_P


def test_every_order_comes_as_often() -> None:
    order = draws.orders(drawn()["order"])
    counts = (order * torch.tensor([64, 16, 4, 1])).sum(dim=1).unique(return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - N / 24).abs() < 5 * math.sqrt(N * 23 / 576)).all()


def test_numbers_are_uniform_and_uncorrelated_between_parts_and_between_samples() -> None:
    numbers = torch.cat([part.view(N, -1) for part in drawn().values()], dim=1).double()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    for column in numbers.T:
        assert kstest(column, "uniform").pvalue > LEAST_P
    # 54 columns: 1,431 pairs, so the largest of so many normals is looked at.
    assert (torch.corrcoef(numbers.T) - torch.eye(numbers.shape[1])).abs().max() < 6 / math.sqrt(N)
    following = torch.corrcoef(torch.cat((numbers[1:].T, numbers[:-1].T)))[: numbers.shape[1], numbers.shape[1] :]
    assert following.abs().max() < 6 / math.sqrt(N)


def test_the_largest_uniform_number_stays_within_the_range() -> None:
    """1 - 2^-24 times a whole number, rounded to float32, must not reach that number."""
    largest = torch.tensor([1 - 2**-24])
    for most in range(300):
        assert int(draws.shifts(most, largest)) == most
    for size in range(2, 300):
        assert int(draws.corners(largest.expand(1, 8), 0.5, size, size).max()) == size - 1
        box = draws.crop_boxes(largest.expand(1, 22), (0.3, 0.3), (1.0, 1.0), size, size)
        assert int(box[0] + box[2]) == size
