"""Images of another shape: what stays, what torchvision and Pillow give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rra_cli.data import resize
from rra_cli.data.dataset import Samples
from rra_cli.data.resize import fit, to_grey
from rra_cli.data.torchvision_import import import_torchvision

transforms = import_torchvision().transforms.v2.functional


def samples(n: int, shape: tuple[int, int, int], seed: int = 0) -> Samples:
    images = np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)
    return Samples(images, np.arange(n, dtype=np.int64) % 3, np.arange(n, dtype=np.int64) + 7)


def test_a_shape_that_fits_is_left_as_it_is() -> None:
    given_ = samples(3, (3, 8, 8))
    assert fit(given_, (3, 8, 8)) is given_


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 28, 28), (1, 40, 20)])
@pytest.mark.parametrize("wanted", [(3, 32, 32), (1, 14, 14), (3, 9, 30)])
def test_it_is_torchvisions_antialiased_resizing(shape: tuple[int, int, int], wanted: tuple[int, int, int]) -> None:
    before = samples(5, shape)
    after = fit(before, wanted)
    grey = to_grey(before.images) if wanted[0] == 1 else before.images
    expected = transforms.resize(torch.from_numpy(grey), list(wanted[1:]), antialias=True)
    if wanted[0] == 3 and shape[0] == 1:
        expected = expected.expand(-1, 3, -1, -1)
    assert after.images.shape == (5, *wanted)
    assert after.images.dtype == np.uint8
    assert (after.images == expected.numpy()).all()
    assert (after.labels == before.labels).all()
    assert (after.ids == before.ids).all()


def test_it_differs_from_resizing_without_antialiasing() -> None:
    """Negative control of the test above: at half the size, detail would alias."""
    before = samples(5, (1, 28, 28))
    aliased = transforms.resize(torch.from_numpy(before.images), [14, 14], antialias=False).numpy()
    assert (fit(before, (1, 14, 14)).images != aliased).any()


@given(st.integers(0, 255), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=50, deadline=None)
def test_a_flat_image_stays_flat_in_every_size(value: int, height: int, width: int) -> None:
    flat = Samples(np.full((2, 1, 6, 5), value, np.uint8), np.zeros(2, np.int64), np.arange(2))
    assert (fit(flat, (3, height, width)).images == value).all()


def test_grey_to_rgb_and_back_is_the_identity() -> None:
    grey = Samples(np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16), np.zeros(1, np.int64), np.arange(1))
    assert (fit(fit(grey, (3, 16, 16)), (1, 16, 16)).images == grey.images).all()


def test_grey_is_pillows_to_the_bit_and_torchvisions_to_one_step() -> None:
    images = samples(4, (3, 32, 32)).images
    grey = to_grey(images)
    pillows = [np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L")) for image in images]
    assert (grey[:, 0] == np.stack(pillows)).all()
    theirs = transforms.rgb_to_grayscale(torch.from_numpy(images)).numpy()  # cut off rather than rounded
    assert (np.abs(grey.astype(int) - theirs) <= 1).all()
    assert (np.abs(grey.astype(int) - images.mean(axis=1, keepdims=True)) > 1).any()  # not the plain mean


def test_the_result_does_not_depend_on_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    before = samples(10, (3, 20, 20))
    whole = fit(before, (1, 28, 28)).images
    monkeypatch.setattr(resize, "_BLOCK", 3)
    assert (fit(before, (1, 28, 28)).images == whole).all()
    assert (fit(before.take(np.array([4])), (1, 28, 28)).images == whole[4:5]).all()
    assert len(fit(before.take(np.array([], dtype=np.int64)), (1, 28, 28))) == 0


@pytest.mark.parametrize("wanted", [(2, 8, 8), (3, 0, 8), (1, 8, -1)])
def test_impossible_shapes_are_refused(wanted: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot make images of"):
        fit(samples(2, (3, 8, 8)), wanted)
    with pytest.raises(ValueError, match="cannot make images of"):
        fit(samples(2, (2, 8, 8)), (3, 8, 8))
