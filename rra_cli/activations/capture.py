"""Dumping the layers of any torch network into a folder of .npy files that `rra` reads."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rra_cli.activations.hooks import Call, Taps, trace, undisturbed
from rra_cli.activations.layers import resolve, resolve_layers
from rra_cli.activations.naming import LABELS, layer_file
from rra_cli.activations.pooling import Pooling, pool_tensor, pooled_shape
from rra_cli.activations.projection import Projection, Projector
from rra_cli.activations.stream import Captured, Request, feature_shapes, stream
from rra_cli.activations.writer import LayerWriter
from rra_cli.core import files
from rra_cli.errors import UserError
from rra_cli.models.encoder import INPUT

__all__ = ["Captured", "Request", "capture", "feature_shapes", "resolve_layers", "stream"]


def capture(
    module: nn.Module,
    loader: Iterable[Any],
    path: str | PathLike[str],
    *,
    layers: str | Sequence[str] = "*",
    pooling: str | Pooling = "none",
    reduce: int | Projection | None = None,
    device: str | torch.device | None = None,
) -> Path:
    """Writes the layers of a network for all samples of a loader; returns the folder, written whole or not at all.

    module: any torch module of one tensor. loader: yields input tensors `(n, ...)`, or tuples `(inputs, labels, ...)`
    with integer labels `(n,)`; its length need not be known. path: a folder that does not exist or is empty.
    layers: "*" is the input and all leaf modules that are called; else one or more dotted names or globs
    (`activations.layers.resolve_layers`) and "input". pooling: none; cls, mean or last on layers `(n, tokens,
    features)`; avg2, avg4, avg8, avg_global, max2 ... on layers of maps `(n, c, h, w)`. reduce: layers of more
    features become `(n, reduce)` by a random projection (an `activations.projection.Projection` sets its seed). device:
    where it runs (default: where the network is); the network is moved back afterwards.

    The folder holds `000_<layer>.npy`, `001_<layer>.npy`, ... in the order of execution and `labels.npy`; the arrays
    are float32 (float64 where the layer is), `(n, features)`, `(n, tokens, features)` or `(n, c, h, w)` as the layer
    has it, other shapes flattened. Read it by `rra run +experiment=from_activations activations.path=PATH`.

    The network runs in evaluation mode without gradients, on the first batch twice (to learn what is called);
    afterwards it is as before. Operations that are not modules (`x + y`, `F.relu`) are seen in the output of the module
    around them: name it. A module called repeatedly gives one layer per call (`relu@1`, `relu@2`). What a glob matches
    but cannot be captured is left out with a warning; the same module by its name is an error. Memory: one batch.

    Raises UserError for layers that do not exist or cannot be captured, an empty loader, unusable batches or labels, a
    folder that is not empty or cannot be written, and a device that is missing.
    """
    pooled_by = pooling if isinstance(pooling, Pooling) else _pooling(pooling)
    projector = None if reduce is None else Projector(reduce if isinstance(reduce, Projection) else _projection(reduce))
    patterns = [layers] if isinstance(layers, str) else list(layers)
    if not patterns:
        raise UserError("layers is empty: there is nothing to capture", 'use layers="*" for all of them')
    target = Path(path).absolute()
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise _occupied(target)
    module = _plain(module)
    home, place = _devices(module, device)
    temporary = target.with_name(f"{files.LEFTOVER}{secrets.token_hex(4)}-{target.name}")
    try:
        with files.explained(target):
            temporary.mkdir(parents=True)
        module.to(place)
        _fill(temporary, module, loader, patterns, pooled_by, projector, place)
        files.publish_folder(temporary, target)
    except FileExistsError:
        raise _occupied(target) from None
    finally:
        if place != home:
            module.to(home)
        files.remove(temporary)
    return target


def _fill(
    folder: Path,
    module: nn.Module,
    loader: Iterable[Any],
    patterns: Sequence[str],
    pooling: Pooling,
    projector: Projector | None,
    at: torch.device,
) -> None:
    """Writes all layers and labels into a folder that nobody looks at yet."""
    if next(module.children(), None) is None:
        module = _Only(module)
    writers: dict[str, LayerWriter] = {}
    labels: list[NDArray[np.int64]] = []
    n_samples = 0
    taps: Taps | None = None

    def receive(reference: str, values: torch.Tensor) -> None:
        if pooled_shape(values.shape[1:], pooling) != tuple(values.shape[1:]):
            values = pool_tensor(values, pooling).reshape(len(values), *pooled_shape(values.shape[1:], pooling))
        if projector is not None and projector.projection.applies_to(values[0].numel()):
            values = projector.project(pool_tensor(values.detach(), Pooling()))
        writers[reference].append(values)

    for batch in loader:
        inputs, batch_labels = _split(batch)
        if len(inputs) == 0:
            continue
        inputs = inputs.to(at)
        if taps is None:
            references = _references(module, patterns, trace(module, inputs))
            taps = Taps(module, references, receive)
            for index, (reference, name) in enumerate(references.items()):
                writers[reference] = LayerWriter(folder / layer_file(index, name), name)
        with undisturbed(module, at), taps:
            taps.forward(inputs)
        n_samples += len(inputs)
        if batch_labels is not None:
            labels.append(_checked_labels(batch_labels, len(inputs)))
        if labels and sum(map(len, labels)) != n_samples:
            raise UserError(
                "the loader yields labels in some batches and none in others",
                "yield (inputs, labels) in every batch, or inputs alone",
            )
    if n_samples == 0:
        raise UserError("the loader yields no samples, expected at least one", "check the data set behind it")
    for writer in writers.values():
        writer.finish()
    if labels:
        files.write_array(folder / LABELS, np.concatenate(labels))


def _references(module: nn.Module, patterns: Sequence[str], calls: Sequence[Call]) -> dict[str, str]:
    """Reference -> layer name of what is captured, in the order of execution, the input first."""
    top_level = {name for name, _ in module.named_children()}
    wants_input = [p == "*" or p == "" or (p == INPUT and INPUT not in top_level) for p in patterns]
    modules = [p for p, is_input in zip(patterns, wants_input, strict=True) if not is_input or p == "*"]
    found, left_out = resolve(module, modules, calls)
    if left_out:
        reasons = "; ".join(f"{reference}: {reason}" for reference, reason in left_out.items())
        warnings.warn(f"left out of the capture: {reasons}", stacklevel=4)
    names = {reference: reference for reference in found}
    return {"": "network_input" if INPUT in names else INPUT, **names} if any(wants_input) else names


def _split(batch: Any) -> tuple[torch.Tensor, Any]:
    """A batch as inputs and labels (None where there are none)."""
    inputs, *others = batch if isinstance(batch, tuple | list) and batch else (batch,)
    if not isinstance(inputs, torch.Tensor):
        raise UserError(
            f"the loader yields a {type(inputs).__name__}; expected input tensors or tuples (inputs, labels)",
            "wrap the loader in a generator, such as ((batch['image'], batch['label']) for batch in loader)",
        )
    if inputs.ndim == 0:
        raise UserError("the loader yields a single number; expected inputs (n, ...)", "use a DataLoader with batches")
    return inputs, others[0] if others else None


def _checked_labels(labels: Any, n: int) -> NDArray[np.int64]:
    array = np.asarray(labels.cpu() if isinstance(labels, torch.Tensor) else labels)
    if array.shape != (n,) or array.dtype.kind not in "iub":
        raise UserError(
            f"the loader yields labels of shape {array.shape} and type {array.dtype}; expected {n} integers ({n},)",
            "let it yield class indices, or inputs alone where there are no classes",
        )
    return array.astype(np.int64)


def _devices(module: nn.Module, device: str | torch.device | None) -> tuple[torch.device, torch.device]:
    """Where the network is, and where it is to run."""
    lies_on = list(dict.fromkeys(tensor.device for tensor in [*module.parameters(), *module.buffers()]))
    home = lies_on[0] if lies_on else torch.device("cpu")
    if device is None:
        return home, home
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(f"device {str(device)!r} is not available here", "use device='cpu', or leave it out") from None
    if len(lies_on) > 1:
        raise UserError(
            f"the network lies on several devices ({', '.join(map(str, lies_on))}), so it cannot be moved to {place}",
            "leave device out: it then runs where it is",
        )
    return home, place


def _plain(module: nn.Module) -> nn.Module:
    """The network inside of torch.compile and data-parallel wrappers, whose inner modules no hook would see."""
    inner = getattr(module, "_orig_mod", None)
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = module.module
    return module if inner is None else _plain(inner)


def _pooling(name: str) -> Pooling:
    try:
        return Pooling.named(name)
    except ValueError as error:
        raise UserError(str(error), "use one of these names, or leave it out") from None


def _projection(dimensions: int) -> Projection:
    try:
        return Projection(dimensions)
    except ValueError as error:
        raise UserError(str(error), "use reduce=1024, or leave it out") from None


def _occupied(target: Path) -> UserError:
    return UserError(
        f"{target} exists already; expected a folder that is new or empty",
        "choose another path, or remove what is there",
    )


class _Only(nn.Module):
    """A network without inner modules as one with a single layer, `output`."""

    def __init__(self, output: nn.Module) -> None:
        super().__init__()
        self.output = output
        self.training = output.training

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.output(inputs)
