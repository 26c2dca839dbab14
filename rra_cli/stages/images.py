"""The images of an experiment, read once and only when a stage needs them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity_of
from rra_cli.core.progress import Reporter
from rra_cli.core.store import Store
from rra_cli.data.alterations.alteration import (
    ImageAlteration,
    LabelAlteration,
    NoAlteration,
    Seen,
    alters_images,
    alters_labels,
)
from rra_cli.data.dataset import ImageDataset, Samples, Split
from rra_cli.data.subset import load_measured, load_trained, measured_identity, measured_size, training_identity
from rra_cli.errors import UserError

if TYPE_CHECKING:
    import torch

    from rra_cli.data.alterations.alteration import Alteration


# Of `data/resize.py: fit`: raised when it gives other pixels.
FIT = 1


class Images:
    """A data set and its measured and trained samples; nothing is read before it is asked for.

    like: the data set that a network was trained on, where it is to look at this one: images get its shape (resized,
    grey or colour as needed) and its normalisation. alteration: what is done to the measured samples, on their way into
    the network; `measured` has them as they lie in the data set.
    """

    def __init__(
        self, dataset: ImageDataset, like: ImageDataset | None = None, alteration: Alteration | None = None
    ) -> None:
        self.dataset, self.like = dataset, like
        self.alteration = NoAlteration() if alteration is None else alteration
        if alters_images(self.alteration) and not dataset.pictures:
            raise UserError(
                f"alter={self.alteration.name} alters pictures, but dataset={dataset.name} has none",
                "leave alter out, or choose a data set of pictures; `rra ls dataset` lists what there is",
            )
        self._measured: dict[Split, Samples] = {}

    def altered(self, alteration: Alteration) -> Images:
        """The same samples, which are read once for both, altered."""
        twin = Images(self.dataset, self.like, alteration)
        twin._measured = self._measured
        return twin

    @cached_property
    def trained(self) -> Samples:
        """The samples that are trained on."""
        return load_trained(self.dataset)

    @cached_property
    def test(self) -> Samples:
        """The whole test split, on which accuracy is computed."""
        return self.dataset.load("test")

    def measured(self, split: Split) -> Samples:
        """The samples whose layers are looked at."""
        if split not in self._measured:
            samples = load_measured(self.dataset, split)
            self._measured[split] = samples if self.like is None else _fitted(samples, self.like)
        return self._measured[split]

    def check(self, store: Store, reporter: Reporter) -> None:
        """Reads what is measured. Raises `UserError` for a draw that the data cannot give, before hours of training."""
        self.dataset.prepare(reporter)
        for split in self.dataset.splits:
            self.measured(split)

    def labels(self, split: Split) -> NDArray[np.int64]:
        """`(n,)` class of every measured sample, as it is to be measured."""
        measured, alteration = self.measured(split), self.alteration
        if isinstance(alteration, LabelAlteration) and not alteration.is_none:
            return alteration.relabel(measured.labels, Seen(split, measured.ids))
        return measured.labels

    @property
    def labels_identity(self) -> dict[str, Any]:
        """What decides the labels beyond the samples."""
        return {"alter": identity_of(self.alteration)} if alters_labels(self.alteration) else {}

    def sample_ids(self, split: Split) -> NDArray[np.int64]:
        """`(n,)` position of every measured sample in the full split."""
        return self.measured(split).ids

    def n_measured(self, split: Split) -> int:
        """How many samples are measured, known without reading them."""
        return measured_size(self.dataset, split)

    def batches(self, split: Split, start: int, stop: int, device: str) -> torch.Tensor:
        """Layer 0 of the measured samples `start..stop`: `(n, c, h, w)` float32, normalised, on the device."""
        import torch

        from rra_cli.data.normalise import standardise, to_unit

        measured, alteration = self.measured(split), self.alteration
        images = to_unit(torch.from_numpy(measured.images[start:stop]).to(device))
        if isinstance(alteration, ImageAlteration) and not alteration.is_none:
            images = alteration.change(images, Seen(split, measured.ids[start:stop]))
        shown_as = self.dataset if self.like is None else self.like
        return standardise(images, shown_as.mean, shown_as.std)

    def class_names(self, classes: NDArray[np.int64]) -> list[str]:
        """What the classes are called in tables."""
        return [self.dataset.class_names[label] for label in classes]

    def checksums(self) -> dict[str, str]:
        """Of every file that was read."""
        return self.dataset.checksums()

    def measured_identity(self, split: Split) -> dict[str, Any]:
        """What decides which samples are measured, and as what the network sees them."""
        identity = self.samples_identity(split)
        return identity | {"alter": identity_of(self.alteration)} if alters_images(self.alteration) else identity

    def samples_identity(self, split: Split) -> dict[str, Any]:
        """The same of samples that nothing alters: equal for the altered copies of equal samples."""
        identity = measured_identity(self.dataset, split)
        if self.like is not None:
            shape, mean, std = self.like.input_shape, self.like.mean, self.like.std
            identity["like"] = {"version": FIT, "input_shape": list(shape), "mean": list(mean), "std": list(std)}
        return identity

    def training_identity(self) -> dict[str, Any]:
        """What decides which samples are trained on."""
        return training_identity(self.dataset)


def _fitted(samples: Samples, like: ImageDataset) -> Samples:
    """The samples with images of the shape that a network takes."""
    from rra_cli.data.resize import fit

    return fit(samples, like.input_shape)
