"""The handwritten digits that come with scikit-learn: real data without a download."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.data.dataset import ImageDataset, Samples, Split
from rra_cli.data.subset import stratified_order
from rra_cli.errors import UserError

N_TRAIN = 1437
# Of all 1,797 images and labels, see `digits_sha256`.
SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
_SPLIT_SEED = 0
_SPLIT_STREAM = 3


@dataclass(frozen=True)
class Digits(ImageDataset):
    """Handwritten digits, 8x8 grey, 1,437 + 360, embedded in scikit-learn.

    The test half of "Optical Recognition of Handwritten Digits" (Alpaydin, Kaynak 1998): 1,797 images of 13 writers.
    It has no official split: here 1,437 are for training and 360 for testing, stratified by class, drawn once by a
    fixed seed, whatever `subset_seed`; writers are not kept apart. Pixels are the original counts 0..16 as uint8.
    """

    name: ClassVar[str] = "digits"
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")
    input_shape: ClassVar[tuple[int, int, int]] = (1, 8, 8)
    sizes: ClassVar[dict[Split, int]] = {"train": N_TRAIN, "test": 1797 - N_TRAIN}
    # Over all pixels of the 1,437 training images, of counts divided by 255 (not by 16).
    mean: ClassVar[tuple[float, ...]] = (0.01915,)
    std: ClassVar[tuple[float, ...]] = (0.02361,)

    def load(self, split: Split) -> Samples:
        """The whole split; `UserError` where scikit-learn's copy is not the one that is expected."""
        images, labels = read_digits()
        found = digits_sha256(images, labels)
        if found != SHA256:
            raise UserError(
                f"scikit-learn's digits are not the 1,797 images that were expected: expected sha256 {SHA256}, "
                f"found {found}",
                "install scikit-learn again",
            )
        order = stratified_order(labels, _SPLIT_SEED, _SPLIT_STREAM)
        chosen = np.sort(order[:N_TRAIN] if split == "train" else order[N_TRAIN:])
        return Samples(images[chosen], labels[chosen], np.arange(len(chosen), dtype=np.int64))

    def checksums(self) -> dict[str, str]:
        """The sha256 of the arrays, which do not depend on how a version of scikit-learn packs them."""
        return {"sklearn.datasets.load_digits": f"sha256:{digits_sha256(*read_digits())}"}


def read_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All 1,797 images `(n, 1, 8, 8)` uint8 with values 0..16, and labels `(n,)` int64."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images.astype(np.uint8)[:, None], digits.target.astype(np.int64)


def digits_sha256(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> str:
    """Of the pixels as bytes, then the labels as bytes."""
    return hashlib.sha256(images.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
