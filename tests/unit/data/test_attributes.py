"""Luminance, contrast and dominant hue of pictures: by hand and by the standard library's HSV."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from rra_cli.data import attributes
from rra_cli.data.attributes import GREY, contrast, dominant_hue, luminance


def plain(*colours: tuple[int, int, int]) -> np.ndarray:
    """A picture of one colour each, 4x4."""
    return np.array([np.tile(np.array(c, np.uint8)[:, None, None], (1, 4, 4)) for c in colours])


def test_luminance_and_contrast() -> None:
    pictures = plain((255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))
    np.testing.assert_allclose(luminance(pictures), [1, 0, 0.299, 0.587, 0.114])
    np.testing.assert_allclose(contrast(pictures), 0, atol=1e-12)
    half = np.zeros((1, 1, 4, 4), np.uint8)
    half[:, :, :2] = 255
    assert (luminance(half)[0], contrast(half)[0]) == pytest.approx((0.5, 0.5))
    # Where the pixels are does not matter; how many are bright does (control).
    shuffled = np.random.default_rng(0).permutation(half.ravel()).reshape(half.shape)
    assert contrast(shuffled)[0] == pytest.approx(0.5)
    half[:, :, 2] = 255
    assert contrast(half)[0] < 0.44


def test_hue_is_that_of_hsv(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    colours = [tuple(int(v) for v in rng.integers(0, 256, 3)) for _ in range(300)]
    expected = [round(colorsys.rgb_to_hsv(*(v / 255 for v in c))[0] * 12) % 12 for c in colours]
    expected = [GREY if max(c) - min(c) < 10 else sector for c, sector in zip(colours, expected, strict=True)]
    # Halves of a sector round to even numbers in Python: none are drawn.
    np.testing.assert_array_equal(dominant_hue(plain(*colours)), expected)
    monkeypatch.setattr(attributes, "_AT_A_TIME", 100)
    np.testing.assert_array_equal(dominant_hue(plain(*colours)), expected)
    assert dominant_hue(plain((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))).tolist() == [0, 4, 8, 2]


def test_strong_colours_count_more_and_grey_has_no_hue() -> None:
    picture = plain((130, 125, 125))  # faintly red everywhere
    assert dominant_hue(picture).tolist() == [GREY]
    picture[0, :, 0, :2] = np.array([[0], [0], [255]])  # two pixels strongly blue
    assert dominant_hue(picture).tolist() == [8]
    assert dominant_hue(np.full((2, 1, 4, 4), 200, np.uint8)).tolist() == [GREY, GREY]
