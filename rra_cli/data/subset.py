"""Which samples are trained on and which are measured: seeded, sorted, nested, and the same for every model.

Each subset is a prefix of one seeded order of the samples, so that a smaller one lies within a larger one of the same
seed, and growing a study never throws a sample away. The orders come from `numpy.random.RandomState`, whose stream is
frozen for good (NEP 19), so that a seed means the same samples under every version of numpy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity_of
from rra_cli.data.dataset import Dataset, ImageDataset, Samples, Split
from rra_cli.errors import UserError

Positions = NDArray[np.int64]

# Each use of a seed draws from its own stream, so that what is measured tells nothing of what is trained on.
_TRAINED = 0
_MEASURED: dict[Split, int] = {"train": 1, "test": 2}


def trained_ids(labels: NDArray[np.int64], train_size: int | None, subset_seed: int) -> Positions:
    """The samples that are trained on, ascending; None is all.

    Stratified: a class has its share of `train_size`, up to rounding. labels: `(n,)`. Raises `UserError` where there
    are no labels, only one class, or fewer than `train_size` samples.
    """
    check_labels(labels, "the training split")
    if train_size is None:
        return np.arange(len(labels), dtype=np.int64)
    _check_size(len(labels), train_size, "dataset.train_size", "the training split")
    return np.sort(stratified_order(labels, subset_seed, _TRAINED)[:train_size])


def measured_ids(
    labels: NDArray[np.int64] | None,
    n: int | None,
    seed: int,
    balanced: bool,
    split: Split,
    *,
    size: int | None = None,
    as_drawn: bool = False,
) -> Positions:
    """The positions of the samples that are measured, ascending; n = None is all.

    labels: `(size,)`, or None where there are none; `size` then says how many samples there are. balanced: n // C of
    each of the C classes, and one more of n mod C of them in a seeded order; else drawn without regard to class.
    as_drawn: in the order of the draw instead, which is the same for every n: its first m are those of a draw of m.

    Raises `UserError` for an empty split, one class only, more samples than there are, a class that is too small for
    a balanced draw (with the largest possible number), or a balanced draw without labels.
    """
    if labels is not None:
        check_labels(labels, f"the {split} split")
        size = len(labels)
    if size is None:
        raise ValueError("without labels the number of samples must be given")
    n = size if n is None else n
    _check_size(size, n, "dataset.n_samples", f"the {split} split")
    if not balanced:
        drawn = _random(seed, _MEASURED[split]).permutation(size)[:n].astype(np.int64)
    elif labels is None:
        raise UserError(
            "dataset.balanced is true, but there are no labels to balance by",
            "set dataset.balanced=false, or provide the labels (labels.npy beside the activations)",
        )
    else:
        _check_balance(labels, n, split)
        drawn = balanced_order(labels, seed, _MEASURED[split])[:n]
    return drawn if as_drawn else np.sort(drawn)


def nested_order(drawn: Positions) -> Positions:
    """Of positions in the order of their draw: `(n,)` places among the same positions ascending.

    The first m are the samples of a draw of m, so that every prefix is a measured set of its own.
    """
    return np.searchsorted(np.sort(drawn), drawn).astype(np.int64)


def stratified_order(labels: NDArray[np.int64], seed: int, stream: int) -> Positions:
    """A seeded order `(n,)` of the samples, every prefix of which holds each class in proportion, up to rounding.

    The j-th sample (from 0) of a class of size m stands at (2j + 1) / (2m); ties go by a seeded order of the classes.
    That is the divisor method of Sainte-Laguë. The method of largest remainders rounds as well, but its subsets are
    not nested: a larger subset can hold fewer of a class (the Alabama paradox).
    """
    ranks, counts, class_rank = _ranks_within_class(labels, seed, stream)
    return np.lexsort((class_rank, (2 * ranks + 1) / (2 * counts))).astype(np.int64)


def balanced_order(labels: NDArray[np.int64], seed: int, stream: int) -> Positions:
    """A seeded order `(n,)` of the samples that takes the classes in turn, as long as each lasts."""
    ranks, _, class_rank = _ranks_within_class(labels, seed, stream)
    return np.lexsort((class_rank, ranks)).astype(np.int64)


def _ranks_within_class(labels: NDArray[np.int64], seed: int, stream: int) -> tuple[Positions, Positions, Positions]:
    """Per sample: its place in a seeded order of its class, the size of its class, its class's place among classes."""
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    ranks = np.empty(len(labels), dtype=np.int64)
    for position, count in enumerate(counts):
        ranks[inverse == position] = _random(seed, stream, position).permutation(count)
    class_rank = _random(seed, stream).permutation(len(classes))
    return ranks, counts[inverse], class_rank[inverse]


def _random(seed: int, *stream: int) -> np.random.RandomState:
    return np.random.RandomState([seed, *stream])


def check_labels(labels: NDArray[np.int64], what: str) -> None:
    """`UserError` unless there are samples, of at least two classes."""
    if len(labels) == 0:
        raise UserError(f"{what} is empty; at least 3 samples of two classes are needed", "check the data")
    if (labels == labels[0]).all():
        raise UserError(
            f"{what} holds only one class ({len(labels):,} samples of class {labels[0]}); at least two are needed",
            "take more samples, or a balanced draw (dataset.balanced=true)",
        )


def _check_size(available: int, wanted: int, field: str, what: str) -> None:
    if available == 0:
        raise UserError(f"{what} is empty; at least 3 samples are needed", "check the data")
    if wanted > available:
        raise UserError(
            f"{field} asks for {wanted:,} samples, but {what} has only {available:,}",
            f"set {field} to at most {available}, or to null for all",
        )


def _check_balance(labels: NDArray[np.int64], n: int, split: Split) -> None:
    classes, counts = np.unique(labels, return_counts=True)
    largest = int(counts.min()) * len(classes)
    if n > largest:
        raise UserError(
            f"a balanced draw of {n:,} samples needs {-(-n // len(classes)):,} of each of the {len(classes)} classes, "
            f"but class {classes[counts.argmin()]} of the {split} split has only {counts.min():,}",
            f"set dataset.n_samples to at most {largest}, the largest balanced number, or dataset.balanced=false",
        )


def load_trained(dataset: ImageDataset) -> Samples:
    """The samples that are trained on."""
    samples = dataset.load("train")
    trained = samples.take(trained_ids(samples.labels, dataset.train_size, dataset.subset_seed))
    check_labels(trained.labels, "what is trained on (dataset.train_size)")
    return trained


def load_measured(dataset: ImageDataset, split: Split) -> Samples:
    """The samples that are measured; of the training split only those that are trained on."""
    samples = load_trained(dataset) if split == "train" else dataset.load(split)
    positions = measured_ids(
        samples.labels, dataset.requested_samples(split), dataset.subset_seed, dataset.balanced, split
    )
    measured = samples.take(positions)
    check_labels(measured.labels, f"what is measured of the {split} split (dataset.n_samples)")
    return measured


def measured_size(dataset: ImageDataset, split: Split) -> int:
    """How many samples of the split are measured, known without reading the data."""
    requested = dataset.requested_samples(split)
    return dataset.available_samples(split) if requested is None else requested


def training_identity(dataset: ImageDataset) -> dict[str, Any]:
    """What decides which samples are trained on: name and options, and `train_size` with `subset_seed` if it limits.

    A train_size of the whole split is the same as none. A user's own pictures add the hash of their content.
    """
    identity = identity_of(dataset) | dataset.content_identity()
    train_size, subset_seed = identity.pop("train_size"), identity.pop("subset_seed")
    if train_size is not None and train_size < dataset.sizes["train"]:
        identity |= {"train_size": train_size, "subset_seed": subset_seed}
    return identity


def measured_identity(dataset: Dataset, split: Split, *, size: int | None = None) -> dict[str, Any]:
    """What decides which samples are measured: name and options, split, number, and what else the draw depends on.

    The number is resolved, so that null and the explicit full size are the same; `subset_seed` is there only if
    something is drawn by it. `balanced` is there whenever it is asked for, even of a whole split: whether a class is
    too small for it shows only in the data, and a stored result must not hide that error. size: how many samples the
    split has, for a data set that does not know (a user's files).
    """
    if isinstance(dataset, ImageDataset):
        size = dataset.available_samples(split)
        identity = training_identity(dataset)
        if split != "train":
            identity = {key: value for key, value in identity.items() if key not in ("train_size", "subset_seed")}
    else:
        identity = identity_of(dataset)
        identity.pop("subset_seed")
    if size is None:
        raise ValueError(f"the number of samples of {dataset.name!r} is not known before it is read: give it as size")
    requested = dataset.requested_samples(split)
    n_samples = size if requested is None else requested
    identity |= {"split": split, "n_samples": n_samples}
    if n_samples < size:
        identity["subset_seed"] = dataset.subset_seed
    if dataset.balanced:
        identity["balanced"] = True
    return identity
