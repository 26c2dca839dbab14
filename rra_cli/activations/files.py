"""A user's folder of activations: one .npy per layer, and labels if there are any.

Everything is opened as a memory map and never unpickled; `read_folder` reads headers and labels only, so that it is
quick however large the files are. What the values look like is checked by `activations.values`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.activations import npy
from rra_cli.activations.naming import LABELS, SUFFIX, layer_name, order_key
from rra_cli.activations.pooling import Pooling, pool_array, pooled_shape
from rra_cli.errors import UserError

_HINT_SAVE = "write it with numpy.save(path, array.astype('float32'))"


@dataclass(frozen=True)
class UserLayer:
    """One file. name: the layer's, without prefix. index: its position. shape: `(n, ...)`. header: where it lies."""

    name: str
    index: int
    path: Path
    header: npy.Header

    @property
    def shape(self) -> tuple[int, ...]:
        """`(n, features)`, `(n, tokens, features)` or `(n, c, h, w)`."""
        return self.header.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """As in the file."""
        return self.header.dtype

    def n_features(self, pooling: Pooling) -> int:
        """Numbers per sample after pooling."""
        return int(np.prod(pooled_shape(self.shape[1:], pooling)))


@dataclass(frozen=True)
class UserActivations:
    """A checked folder. layers: in order, equally many rows each. labels: `(n,)` int64, None without labels.npy."""

    folder: Path
    layers: tuple[UserLayer, ...]
    labels: NDArray[np.int64] | None

    @property
    def n_samples(self) -> int:
        """Rows of every layer."""
        return self.layers[0].shape[0]

    @property
    def n_classes(self) -> int | None:
        """Different labels, None without labels."""
        return None if self.labels is None else len(np.unique(self.labels))

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that are read: the layers in order, then the labels."""
        return (*(layer.path for layer in self.layers), *([] if self.labels is None else [self.folder / LABELS]))


def read_folder(path: str | os.PathLike[str]) -> UserActivations:
    """Opens a folder of activations: every `*.npy` but `labels.npy` is a layer, in name order.

    A numeric prefix (`007_name.npy`) orders the layers and is not part of the name; hidden files are passed over.
    Layers are `(n, features)`, `(n, tokens, features)` or `(n, c, h, w)` of float16, float32, float64 or integers.
    labels.npy is `(n,)` of non-negative integers (also written as floats or booleans) of at least two classes.

    Raises UserError that lists every file which cannot be used and why.
    """
    folder = Path(path)
    names = _names(folder)
    faults: list[str] = []
    hints: dict[str, None] = {}

    def fault(message: str, hint: str) -> None:
        faults.append(message)
        hints[hint] = None

    layers: list[UserLayer] = []
    by_name: dict[str, list[str]] = defaultdict(list)
    for index, file_name in enumerate(sorted((n for n in names if n != LABELS), key=lambda n: order_key(n[:-4]))):
        if any("\ud800" <= letter <= "\udfff" for letter in file_name):
            fault(f"{ascii(file_name)[1:-1]} has a name that is no text (not UTF-8)", "rename it")
            continue
        name = layer_name(file_name.removesuffix(SUFFIX))
        by_name[name].append(file_name)
        try:
            header = npy.read_header(folder / file_name)
        except npy.NpyError as error:
            fault(f"{file_name} {error}", _HINT_SAVE)
        except OSError as error:
            fault(f"{file_name} cannot be read: {error.strerror}", "check that the file is there and readable")
        else:
            problem = _layer_problem(header)
            if problem:
                fault(f"{file_name} {problem}", _HINT_SAVE)
            else:
                layers.append(UserLayer(name, index, folder / file_name, header))
    for name, same in by_name.items():
        if len(same) > 1:
            fault(f"two files are the layer {name!r}: {' and '.join(same)}", "give every layer a name of its own")
    rows = _different_rows(layers)
    if rows:
        fault(rows, "every layer must hold the same samples in the same order")
    labels = None
    if LABELS in names:
        try:
            labels = _read_labels(folder / LABELS, layers[0].shape[0] if layers and not rows else None)
        except UserError as error:
            fault(error.message, error.hint or "")
    if faults:
        listed = "".join(f"\n  {message}" for message in faults) if len(faults) > 1 else f" {faults[0]}"
        raise UserError(f"activations.path={folder}:{listed}", "; ".join(hints))
    return UserActivations(folder, tuple(layers), labels)


def open_layer(layer: UserLayer, pooling: Pooling, rows: NDArray[np.integer] | None = None) -> NDArray[Any]:
    """A layer as `(n, features)`, or the given rows of it in that order, pooled and flattened.

    float16, float32 and float64 stay what they are, as a view of the memory map wherever no copy is needed (all rows,
    C order, pooling other than mean). Integers (images) become float32, or float64 where that would round (32 bits and
    more); these, other byte orders, the mean over tokens and a choice of rows are copies in memory.
    """
    values = npy.open_map(layer.path, layer.header)
    if rows is not None:
        values = values[rows]
    pooled = pool_array(values if values.dtype.kind == "f" else values.astype(_floating(layer.dtype)), pooling)
    return pooled.astype(_floating(layer.dtype), copy=False)


def _floating(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind == "f":
        return dtype.newbyteorder("=")
    return np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)


def _names(folder: Path) -> list[str]:
    hint = "point activations.path to a folder of .npy files, one per layer (rra_cli.capture writes one)"
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        raise UserError(f"activations.path={folder} does not exist", hint) from None
    except NotADirectoryError:
        raise UserError(f"activations.path={folder} is a file, expected a folder", hint) from None
    except OSError as error:
        raise UserError(f"activations.path={folder} cannot be read: {error.strerror}", hint) from None
    found = [name for name in names if name.endswith(SUFFIX) and not name.startswith(".")]
    if all(name == LABELS for name in found):
        others = [name for name in names if name not in found]
        what = "is empty" if not names else f"holds no layer: {', '.join((found + others)[:5])}"
        raise UserError(f"activations.path={folder} {what}; expected .npy files, one per layer", hint)
    return found


def _layer_problem(header: npy.Header) -> str:
    shape, dtype = header.shape, header.dtype
    kinds = {"U": "strings", "S": "strings", "c": "complex numbers", "b": "booleans", "V": "records"}
    if dtype.kind not in "fiu" or dtype.itemsize > 8:
        return f"holds {kinds.get(dtype.kind, str(dtype))}; expected float16, float32, float64 or integers"
    if len(shape) not in (2, 3, 4):
        return f"has shape {shape}; expected (n, features), (n, tokens, features) or (n, c, h, w)"
    if shape[0] == 0:
        return f"has no rows (shape {shape})"
    if 0 in shape:
        return f"has no features (shape {shape})"
    return ""


def _different_rows(layers: Sequence[UserLayer]) -> str:
    by_rows: dict[int, list[str]] = defaultdict(list)
    for layer in layers:
        by_rows[layer.shape[0]].append(layer.path.name)
    if len(by_rows) < 2:
        return ""
    usual, *others = sorted(by_rows, key=lambda rows: -len(by_rows[rows]))
    odd = ", ".join(f"{name} {rows}" for rows in others[:5] for name in by_rows[rows][:5])
    return f"layers differ in their number of rows: {by_rows[usual][0]} has {usual}, but {odd}"


def _read_labels(path: Path, n_samples: int | None) -> NDArray[np.int64]:
    """The labels; `n_samples` None: how many there should be is not known."""
    hint = "write labels.npy as numpy.save(path, labels.astype('int64')), or remove it (NNCS is then left out)"
    try:
        header = npy.read_header(path)
    except npy.NpyError as error:
        raise UserError(f"{LABELS} {error}", hint) from None
    except OSError as error:
        raise UserError(f"{LABELS} cannot be read: {error.strerror}", hint) from None
    if header.dtype.kind not in "fiub" or header.dtype.itemsize > 8:
        raise UserError(f"{LABELS} holds {header.dtype}; expected one class number for each sample", hint)
    if len(header.shape) != 1 or (n_samples is not None and header.shape != (n_samples,)):
        expected = "(n,)" if n_samples is None else f"({n_samples},), one for each row of the layers"
        raise UserError(f"{LABELS} has shape {header.shape}; expected {expected}", hint)
    if header.shape == (0,):
        raise UserError(f"{LABELS} holds no labels", hint)
    values = np.array(npy.open_map(path, header))
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.floor(values)).all()):
        bad = values[~(np.isfinite(values) & (values == np.floor(values)))][0]
        raise UserError(f"{LABELS} holds {bad}; expected whole numbers, one class for each sample", hint)
    if values.min() < 0 or float(values.max()) >= 2.0**63:
        bad = values.min() if values.min() < 0 else values.max()
        raise UserError(f"{LABELS} holds {bad}; expected class numbers from 0 on", hint)
    labels = values.astype(np.int64)
    if labels.min() == labels.max():
        raise UserError(f"{LABELS} holds one class only ({labels[0]}); expected at least two", hint)
    return labels
