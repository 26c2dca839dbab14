"""The embedded digits: scikit-learn's images, exactly, in a fixed stratified split."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from rra_cli.data import digits as module
from rra_cli.data.digits import Digits
from rra_cli.errors import UserError


def test_the_splits_are_a_partition_of_scikit_learns_images() -> None:
    original = load_digits()
    train, test = Digits().load("train"), Digits().load("test")
    assert {"train": len(train), "test": len(test)} == Digits.sizes == {"train": 1437, "test": 360}
    together = np.concatenate([train.images, test.images])[:, 0].astype(np.float64)
    key = {image.tobytes(): i for i, image in enumerate(original.images)}
    found = [key[image.tobytes()] for image in together]
    assert sorted(found) == list(range(1797))  # all images differ, so this is a bijection
    assert (original.target[found] == np.concatenate([train.labels, test.labels])).all()


def test_the_test_split_holds_a_fifth_of_each_class() -> None:
    counts = np.bincount(load_digits().target)
    test = np.bincount(Digits().load("test").labels)
    assert (np.abs(test - counts * 360 / 1797) < 1).all()


def test_the_split_depends_on_no_seed() -> None:
    assert (Digits(subset_seed=7).load("test").images == Digits().load("test").images).all()


def test_mean_and_std_are_those_of_the_training_pixels() -> None:
    pixels = Digits().load("train").images / 255
    assert pixels.max() == 16 / 255
    assert Digits.mean[0] == pytest.approx(pixels.mean(), abs=5e-6)
    assert Digits.std[0] == pytest.approx(pixels.std(), abs=5e-6)


def test_other_digits_than_expected_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = module.read_digits()
    images[0, 0, 0, 0] += 1
    monkeypatch.setattr(module, "read_digits", lambda: (images, labels))
    with pytest.raises(UserError, match=r"expected sha256 87ff\w+, found") as caught:
        Digits().load("test")
    assert caught.value.hint == "install scikit-learn again"


def test_the_checksum_is_the_expected_one() -> None:
    assert Digits().checksums() == {"sklearn.datasets.load_digits": f"sha256:{module.SHA256}"}
