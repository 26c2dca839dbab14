"""Alterations against closed forms: the law of the noise, the shape of the light, how many labels move."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rra_cli.data.alterations import draws
from rra_cli.data.alterations.alteration import Alteration, NoAlteration, Seen, alters_images, alters_labels, title
from rra_cli.data.alterations.augmented import Augmented
from rra_cli.data.alterations.labels import ShuffleLabels
from rra_cli.data.alterations.luminance import Luminance, ramps
from rra_cli.data.alterations.noise import Noise, NoiseMix
from rra_cli.data.augment_views import RandomViews

SEEN = Seen("test", np.arange(40))
GREY = torch.full((40, 1, 16, 16), 0.5)


def test_noise_is_gaussian_of_that_sd_around_the_image() -> None:
    """At sd .05 around .5 nothing is clipped: 10,240 values have mean 0 and sd .05 within 4 standard errors."""
    added = (Noise(level=0.05).change(GREY, SEEN) - GREY).double().numpy()
    n = added.size
    assert abs(added.mean()) < 4 * 0.05 / n**0.5
    assert abs(added.std() - 0.05) < 4 * 0.05 / (2 * n) ** 0.5
    # Kurtosis tells Gaussian (3) from uniform (1.8): its standard error is (24 / n)^(1/2).
    assert abs((added**4).mean() / (added**2).mean() ** 2 - 3) < 4 * (24 / n) ** 0.5


def test_all_levels_scale_one_draw() -> None:
    one, two = (Noise(level=level).change(GREY, SEEN) - GREY for level in (0.02, 0.04))
    torch.testing.assert_close(two, 2 * one, rtol=0, atol=1e-6)


def test_uses_of_a_seed_have_streams_of_their_own() -> None:
    """Otherwise the direction of a sample's light would say whether its label moves."""
    light, again, moved = (draws.uniform(SEEN, 0, use) for use in (draws.DIRECTION, draws.DIRECTION, draws.CHOICE))
    assert light.tolist() == again.tolist()
    assert not set(light.tolist()) & set(moved.tolist())


def test_noise_is_clipped_to_the_range_of_pixels() -> None:
    far = Noise(level=100.0).change(GREY, SEEN)
    assert ((far == 0) | (far == 1)).double().mean() > 0.98


def test_a_full_mixture_has_forgotten_the_image() -> None:
    """And a half one has not: the negative control."""
    black, white = torch.zeros_like(GREY), torch.ones_like(GREY)
    full = NoiseMix(level=1.0)
    assert torch.equal(full.change(black, SEEN), full.change(white, SEEN))
    half = NoiseMix(level=0.5)
    difference = half.change(white, SEEN) - half.change(black, SEEN)
    torch.testing.assert_close(difference, torch.full_like(GREY, 0.5), rtol=0, atol=1e-6)


def test_light_rises_from_0_to_1_in_its_direction() -> None:
    right, up, diagonal = ramps(np.array([0.0, 90.0, 45.0]), 3, 5)
    np.testing.assert_allclose(right, np.tile([0, 0.25, 0.5, 0.75, 1], (3, 1)), atol=1e-6)
    np.testing.assert_allclose(up, np.tile([[1], [0.5], [0]], (1, 5)), atol=1e-6)  # row 0 is the top
    assert (diagonal[2, 0], diagonal[0, 4]) == (0, 1)
    assert ramps(np.array([30.0]), 1, 1).item() == 0  # one pixel has no direction


def test_one_direction_for_all_keeps_distances_and_drawn_ones_do_not() -> None:
    """A common gradient is a translation of the whole data set, as long as nothing is clipped."""
    x = 0.5 * torch.rand((40, 3, 8, 8), generator=torch.Generator().manual_seed(0))

    def distances(images: torch.Tensor) -> torch.Tensor:
        flat = images.flatten(1).double()
        return torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")

    common = Luminance(level=0.5, direction=30.0).change(x, SEEN)
    torch.testing.assert_close(distances(common), distances(x), rtol=0, atol=1e-5)
    drawn = Luminance(level=0.5).change(x, SEEN)
    assert (distances(drawn) - distances(x)).abs().max() > 0.5
    torch.testing.assert_close((drawn - x).amax(dim=(1, 2, 3)), torch.full((40,), 0.5), rtol=0, atol=1e-5)


def test_shuffling_keeps_class_sizes_and_moves_that_many() -> None:
    """With all samples of their own class, every moved label shows; of n shuffled ones one stays in the mean."""
    labels, seen = np.arange(1000), Seen("train", np.arange(5000, 6000))
    moved = []
    for level in (0.3, 0.6, 1.0):
        found = ShuffleLabels(level=level).relabel(labels, seen)
        assert np.array_equal(np.sort(found), labels)
        moved.append(set(np.flatnonzero(found != labels).tolist()))
        assert 1000 * level - 8 <= len(moved[-1]) <= 1000 * level
    chosen = {level: ShuffleLabels(level=level).relabel(labels, seen) for level in (0.3, 0.6)}
    kept = np.flatnonzero(chosen[0.6] == labels)
    assert (chosen[0.3][kept] != labels[kept]).sum() <= 8  # what stays at .6 stays at .3, but for returned labels


def test_an_augmented_copy_is_drawn_once() -> None:
    x = torch.rand((40, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    flipped = Augmented(augment=RandomViews(flip=1.0)).change(x, SEEN)
    assert torch.equal(flipped, x.flip(-1))
    half = Augmented(augment=RandomViews(flip=0.5)).change(x, SEEN)
    same = (half == x).all(dim=(1, 2, 3))
    assert 8 <= same.sum() <= 32  # of 40 fair coins
    assert torch.equal(half[~same], x[~same].flip(-1))


@pytest.mark.parametrize(
    ("alteration", "told", "images", "labels"),
    [
        (NoAlteration(), "none", False, False),
        (Noise(level=0.25), "noise 0.25", True, False),
        (Noise(level=0.0), "noise", False, False),
        (ShuffleLabels(level=0.5), "shuffle_labels 0.5", False, True),
        (Augmented(), "augment", False, False),
        (Augmented(augment=RandomViews(flip=0.5)), "augment", True, False),
    ],
)
def test_what_it_alters_and_what_it_is_called(alteration: Alteration, told: str, images: bool, labels: bool) -> None:
    assert (title(alteration), alters_images(alteration), alters_labels(alteration)) == (told, images, labels)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Noise(level=-0.1), "level is -0.1; expected a standard deviation from 0"),
        (lambda: NoiseMix(level=1.5), "level is 1.5; expected the share of noise, from 0 to 1"),
        (lambda: Luminance(level=2.0), "level is 2; expected what the brightest side gains, from 0 to 1"),
        (lambda: Luminance(direction=500.0), "direction is 500.0; expected degrees from -360 to 360"),
        (lambda: ShuffleLabels(level=float("nan")), "level is nan; expected a fraction of the labels"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], Alteration], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
