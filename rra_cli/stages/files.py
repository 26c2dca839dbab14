"""A user's activation files in place of training and capture."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.activations.files import UserLayer, open_layer, read_folder
from rra_cli.activations.naming import LABELS
from rra_cli.activations.pooling import Pooling, pooled_shape
from rra_cli.activations.values import check_values
from rra_cli.config.experiment import Experiment
from rra_cli.core import files
from rra_cli.core.hashing import HashCache
from rra_cli.core.progress import Reporter
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.data.dataset import Split
from rra_cli.data.subset import check_labels, measured_identity, measured_ids
from rra_cli.errors import UserError, did_you_mean

VERSION = 1


class UserFiles:
    """The checked folder of an experiment; every file enters by its content, wherever it lies."""

    def __init__(self, experiment: Experiment, *, read_only: bool = False) -> None:
        if experiment.activations.path is None:
            raise UserError(
                "activations.path is not set: dataset=activations reads a folder of *.npy files, one per layer",
                "add activations.path=DIR; rra_cli.capture(module, loader, DIR) writes such a folder",
            )
        self.folder = read_folder(experiment.activations.path)
        self.dataset = experiment.dataset
        self.split: Split = experiment.dataset.splits[0]
        self.layers = _chosen(self.folder.layers, experiment.activations.layers)
        cache = HashCache(experiment.store_root / "cache" / "hashes", read_only=read_only)
        paths = [layer.path for layer in self.layers] + ([self.folder.folder / LABELS] if self.has_labels else [])
        self.hashes = {path.name: cache.hash(path) for path in paths}

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The measured rows, ascending. The split is only what the files are called, so it draws no other rows."""
        labels = self.folder.labels
        asked, seed = self.dataset.requested_samples(self.split), self.dataset.subset_seed
        rows = measured_ids(labels, asked, seed, self.dataset.balanced, "test", size=self.folder.n_samples)
        if labels is not None:
            check_labels(labels[rows], "what is measured (dataset.n_samples)")
        return rows

    @property
    def n_samples(self) -> int:
        """Measured rows."""
        return len(self.rows)

    @cached_property
    def n_classes(self) -> int | None:
        """Different labels of the measured rows; None without labels."""
        labels = self.labels()
        return None if labels is None else len(np.unique(labels))

    @property
    def has_labels(self) -> bool:
        """Whether there is a labels.npy."""
        return self.folder.labels is not None

    @cached_property
    def key(self) -> str:
        """Names these files as a "model": a hash of the content of all layers."""
        content = "".join(f"{layer.name}\n{self.hashes[layer.path.name]}\n" for layer in self.layers)
        return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()

    def labels(self, split: Split | None = None) -> NDArray[np.int64] | None:
        """`(n,)` label of every measured row."""
        return None if self.folder.labels is None else self.folder.labels[self.rows]

    def sample_ids(self, split: Split) -> NDArray[np.int64]:
        """`(n,)` row of every measured sample."""
        return self.rows

    def class_names(self, classes: NDArray[np.int64]) -> list[str]:
        """What the classes are called in tables: their numbers."""
        return [str(label) for label in classes]

    def checksums(self) -> dict[str, str]:
        """Of every file."""
        return dict(self.hashes)

    @property
    def labels_identity(self) -> dict[str, Any]:
        """What decides the labels; the rows are part of every layer's key."""
        return {} if not self.has_labels else {"sha256": self.hashes[LABELS]}

    @property
    def rows_identity(self) -> dict[str, Any]:
        """What decides the measured rows; nothing of the folder's own."""
        identity = measured_identity(self.dataset, self.split, size=self.folder.n_samples)
        del identity["split"]  # only a name in the tables
        if self.dataset.balanced:
            identity["labels"] = self.labels_identity
        return identity

    def check(self, store: Store, reporter: Reporter) -> None:
        """Reads every value once, and remembers in the store that it did. Raises `UserError` for unusable layers."""
        specs = {layer: Spec("check", VERSION, {"file": self.hashes[layer.path.name]}, ()) for layer in self.layers}
        todo = [layer for layer, spec in specs.items() if store.find(spec) is None]
        if not todo:
            return
        with reporter.task(f"check {len(todo)} files") as progress:
            check_values(todo, progress)
        for layer in todo:
            with store.claim(specs[layer], on_wait=reporter.note) as work:
                files.write_json(work.path / "checked.json", {"rows": layer.shape[0]})
                work.publish(["checked.json"])


class FileSource:
    """One file as the source of a graph; nothing is copied to the store."""

    def __init__(self, files: UserFiles, layer: UserLayer, pooling: Pooling) -> None:
        self.files, self.layer, self.pooling = files, layer, pooling

    @cached_property
    def spec(self) -> Spec:
        """What decides the numbers: the file's content, the rows and the pooling."""
        identity = {
            "file": self.files.hashes[self.layer.path.name],
            "rows": self.files.rows_identity,
            "pooling": {"pool": self.pooling.pool, "scale": self.pooling.scale},
        }
        return Spec("files", VERSION, identity, ())

    @property
    def n_features(self) -> int:
        """Numbers per sample after pooling."""
        return self.layer.n_features(self.pooling)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample after pooling, before it is flattened."""
        return pooled_shape(self.layer.shape[1:], self.pooling)

    def open(self, store: Store) -> tuple[NDArray[np.floating], str]:
        """The layer `(n, features)`; all of it was checked before."""
        rows = None if self.files.n_samples == self.files.folder.n_samples else self.files.rows
        return open_layer(self.layer, self.pooling, rows), ""


def _chosen(layers: Sequence[UserLayer], patterns: Sequence[str]) -> tuple[UserLayer, ...]:
    """The layers that the names or globs of `activations.layers` pick, in the folder's order; all where it is empty."""
    names = [layer.name for layer in layers]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise UserError(
                f"activations.layers names {pattern!r}, but no file is that layer: {did_you_mean(pattern, names)}",
                "give names of layers (file names without number and .npy) or globs such as 'block*'",
            )
    chosen = [layer for layer in layers if not patterns or any(fnmatch.fnmatch(layer.name, p) for p in patterns)]
    return tuple(replace(layer, index=index) for index, layer in enumerate(chosen))
