"""AutoAugment's CIFAR-10 policy against torchvision's `AutoAugment`, image by image, and against Pillow's changes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare

from rra_cli.data import augment_policy
from rra_cli.data.augment_draws import draw
from rra_cli.data.augment_policy import CIFAR10, auto_augment, changes, choose
from rra_cli.data.torchvision_import import import_torchvision

v2 = import_torchvision().transforms.v2
THEIRS = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)
WARPS = ("rotate", "shear_y", "translate_x", "translate_y")


def pictures(channels: int = 3, size: int = 32) -> torch.Tensor:
    """`(5, c, h, w)` uint8: noise, a dark ramp, flat grey, few colours, a picture with a bright spot."""
    random = torch.Generator().manual_seed(0)
    made = torch.randint(0, 256, (5, channels, size, size), generator=random, dtype=torch.uint8)
    made[1] = torch.arange(size).expand(size, size).to(torch.uint8) * 3
    made[2] = 77
    made[3] = made[3] // 64 * 64
    made[4] = made[4] // 8
    made[4, :, 3:6, 3:6] = 250
    return made


def uniform_of(pair: int, made: tuple[bool, bool], negative: tuple[bool, bool]) -> list[float]:
    """The five uniform numbers that choose this; a change of probability 0 is never made."""
    first, second = (0.0 if each else 0.999999 for each in made)
    return [(pair + 0.5) / 25, first, second, *(0.25 if each else 0.75 for each in negative)]


def theirs(
    image: torch.Tensor | Image.Image,
    pair: int,
    made: tuple[bool, bool],
    negative: tuple[bool, bool],
    monkeypatch: pytest.MonkeyPatch,
) -> torch.Tensor | Image.Image:
    """torchvision's result where its random numbers are these: if a change is made, then its sign if it has one."""
    numbers: list[float] = []
    for (name, _, _), on, minus in zip(CIFAR10[pair], made, negative, strict=True):
        numbers.append(0.0 if on else 2.0)
        if on and name in augment_policy._BOTH_WAYS:
            numbers.append(0.25 if minus else 0.75)
    feed: Iterator[float] = iter(numbers)
    with monkeypatch.context() as patched:
        patched.setattr(torch, "randint", lambda *_: torch.tensor(pair))
        patched.setattr(torch, "rand", lambda *_: torch.tensor(next(feed)))
        result = THEIRS(image)
    assert next(feed, None) is None
    return result


def all_ways() -> Iterator[tuple[int, tuple[bool, bool], tuple[bool, bool]]]:
    both = (False, True)
    for pair, *flags in product(range(25), both, both, both, both):
        made = (flags[0] and CIFAR10[pair][0][1] > 0, flags[1] and CIFAR10[pair][1][1] > 0)
        yield pair, made, (flags[2], flags[3])


@pytest.mark.parametrize("channels", [1, 3])
def test_every_pair_equals_torchvisions_image_by_image(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, one image under each of the 400 ways of the policy, all in one batch."""
    ways = list(all_ways())
    images = pictures(channels)[torch.arange(len(ways)) % 5]
    expected = torch.stack([theirs(image, *way, monkeypatch) for image, way in zip(images, ways, strict=True)])
    chosen = choose(torch.tensor([uniform_of(*way) for way in ways]))
    found = (auto_augment(images / 255, chosen) * 255).round()
    assert torch.equal(found, expected.float())
    # Negative control: the changes of another sample give another picture.
    wrong = (auto_augment(images / 255, chosen.roll(16, dims=0)) * 255).round()
    assert (wrong != expected).flatten(1).any(dim=1).float().mean() > 0.5


def test_every_change_is_that_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """An implementation that shares no code. Factors may differ by a rounding, turned pictures at a pixel's edge.

    Contrast by two: Pillow rounds the mean grey as well. Solarize at the threshold itself: 170.000005 in float64.
    """
    images = pictures()
    for pair, made, negative in all_ways():
        if made[0] == made[1]:  # one change at a time
            continue
        name = CIFAR10[pair][1 if made[1] else 0][0]
        found = auto_augment(images / 255, choose(torch.tensor([uniform_of(pair, made, negative)] * 5)))
        for image, ours in zip(images, (found * 255).round(), strict=True):
            pillow = theirs(Image.fromarray(image.permute(1, 2, 0).numpy()), pair, made, negative, monkeypatch)
            difference = (ours - torch.from_numpy(np.array(pillow)).permute(2, 0, 1).float()).abs()
            if name in (*WARPS, "solarize"):
                assert (difference > 0).float().mean() < 0.02, (name, pair)
            else:
                assert difference.max() <= (2 if name == "contrast" else 1), (name, pair)


def test_pairs_changes_and_signs_are_drawn_as_often_as_they_should() -> None:
    n = 100_000
    uniform = draw(n, torch.Generator().manual_seed(0))["auto_augment"]
    chosen, pair = choose(uniform), (uniform[:, 0] * 25).floor().long()
    assert chisquare(torch.bincount(pair, minlength=25)).pvalue > 1e-4
    for each, parts in enumerate(CIFAR10):
        for column, (name, probability, level) in enumerate(parts):
            found = chosen[pair == each, column]
            made = found[found >= 0]
            error = (probability * (1 - probability) / len(found)) ** 0.5
            assert abs(len(made) / len(found) - probability) <= 5 * error
            drawn = [changes()[0][which] for which in made.unique().tolist()]
            assert all(change.name == name and change.level == (level or 0) for change in drawn)
            if name in augment_policy._BOTH_WAYS and len(made):
                negative = torch.tensor([change.sign for change in drawn])[torch.searchsorted(made.unique(), made)] < 0
                assert abs(float(negative.float().mean()) - 0.5) <= 5 * 0.5 / len(made) ** 0.5
