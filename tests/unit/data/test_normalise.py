"""Layer 0 is the same bits by numpy and by torch, and for every single pixel value the rounded exact result."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rra_cli.data.normalise import normalise, normalise_tensor, standardise, to_unit

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
EVERY_PIXEL = np.arange(256, dtype=np.uint8).repeat(3 * 2).reshape(256, 3, 2, 1)


def test_numpy_and_torch_agree_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    images = np.concatenate([rng.integers(0, 256, (64, 3, 32, 32), dtype=np.uint8)])
    by_numpy = normalise(images, MEAN, STD)
    by_torch = normalise_tensor(torch.from_numpy(images), MEAN, STD)
    assert by_numpy.dtype == np.float32
    assert by_numpy.tobytes() == by_torch.numpy().tobytes()
    # Negative control: another order of the same formula gives other bits.
    other = (images.astype(np.float32) - np.float32(255) * np.array(MEAN, np.float32).reshape(1, 3, 1, 1)) / (
        np.float32(255) * np.array(STD, np.float32).reshape(1, 3, 1, 1)
    )
    assert by_numpy.tobytes() != other.tobytes()


def test_values_are_the_formula_in_double_precision_up_to_float32_rounding() -> None:
    exact = (EVERY_PIXEL / 255.0 - np.array(MEAN).reshape(1, 3, 1, 1)) / np.array(STD).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(normalise(EVERY_PIXEL, MEAN, STD), exact, rtol=0, atol=5e-7)


def test_one_image_is_the_same_alone_and_in_a_batch() -> None:
    images = np.random.default_rng(1).integers(0, 256, (33, 1, 7, 5), dtype=np.uint8)
    whole = normalise_tensor(torch.from_numpy(images), (0.1,), (0.3,))
    assert torch.equal(whole[32:], normalise_tensor(torch.from_numpy(images[32:]), (0.1,), (0.3,)))


def test_training_input_without_augmentation_is_layer_0() -> None:
    images = torch.from_numpy(EVERY_PIXEL)
    assert torch.equal(standardise(to_unit(images), MEAN, STD), normalise_tensor(images, MEAN, STD))
    assert to_unit(images).min() == 0
    assert to_unit(images).max() == 1


def test_wrong_types_and_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        normalise(EVERY_PIXEL.astype(np.float64), MEAN, STD)
    with pytest.raises(ValueError, match="uint8"):
        to_unit(torch.zeros(1, 3, 2, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="uint8"):
        to_unit(torch.zeros(1, 3, 2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="do not fit 1 means"):
        normalise(EVERY_PIXEL, MEAN[:1], STD[:1])
