"""Looking into a running network: hooks that come and go without leaving a trace.

A *reference* names one output: a dotted module name (`layer1.0.conv1`), with `@2` behind it for the second call of a
module that is called more than once in a forward pass (one ReLU object used twice), or "" for the network's input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from rra_cli.errors import UserError, did_you_mean

NAMES_HINT = "layers are named as in module.named_modules()"


@dataclass(frozen=True)
class Call:
    """One call of a module within a forward pass: the `number`-th of `total`.

    shape: of one sample's output. problem: why the output cannot be captured ("" when it can).
    """

    name: str
    number: int
    total: int
    shape: tuple[int, ...]
    problem: str

    @property
    def reference(self) -> str:
        """The shortest reference that is unambiguous."""
        return self.name if self.total == 1 else f"{self.name}@{self.number}"


@contextmanager
def undisturbed(module: nn.Module, device: torch.device | str = "cpu") -> Iterator[None]:
    """Evaluation mode without gradients; afterwards modes, buffers and random generators are as before.

    The generators are torch's for the CPU, for `device` and where the parameters lie. Buffers are
    restored because a network may count or average in evaluation mode, too.
    """
    modes = [(child, child.training) for child in module.modules()]
    buffers = [(child, key, value) for child in module.modules() for key, value in child._buffers.items()]
    values = [None if value is None else value.detach().clone() for _, _, value in buffers]
    used = {torch.device(device), *(parameter.device for parameter in module.parameters())}
    indices = {torch.cuda.current_device() if d.index is None else d.index for d in used if d.type == "cuda"}
    module.eval()
    try:
        with torch.random.fork_rng(devices=sorted(indices)), torch.no_grad():
            yield
    finally:
        with torch.no_grad():
            for (child, key, buffer), value in zip(buffers, values, strict=True):
                child._buffers[key] = buffer
                if buffer is not None and value is not None:
                    buffer.copy_(value)
        for child, mode in modes:
            child.training = mode


class Taps:
    """Hands every wanted output to `receive(reference, tensor)` at the moment it exists.

    A receiver must use or copy the tensor at once: the network may overwrite it (ReLU(inplace=True)). The tensor is
    `(n, ...)` with one row per sample. Use as a context manager: the hooks are gone when it is left, on errors too.
    Raises UserError for a module that does not exist.
    """

    def __init__(
        self, module: nn.Module, references: Iterable[str], receive: Callable[[str, torch.Tensor], None]
    ) -> None:
        self._module, self._receive = module, receive
        self._references = dict.fromkeys(references)
        self._calls: Counter[str] = Counter()
        self._n = 0
        self._handles: list[RemovableHandle] = []
        self._wanted: dict[str, dict[int | None, str]] = {}
        for reference in self._references:
            if reference:
                name, number = parse_reference(module, reference)
                self._wanted.setdefault(name, {})[number] = reference

    def __enter__(self) -> Taps:
        for name in self._wanted:
            child = self._module.get_submodule(name)
            self._handles.append(child.register_forward_hook(partial(self._on_output, name)))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def forward(self, inputs: torch.Tensor) -> None:
        """One forward pass. Raises UserError where a wanted module is not called exactly once (see `@`)."""
        self._calls.clear()
        self._n = len(inputs)
        if "" in self._references:
            self._receive("", inputs)  # before the network runs, which may overwrite its input
        self._module(inputs)
        for name, wanted in self._wanted.items():
            self._check_calls(name, wanted)

    def _on_output(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        self._calls[name] += 1
        number = self._calls[name]
        for reference in [self._wanted[name].get(number), self._wanted[name].get(None) if number == 1 else None]:
            if reference is not None:
                tensor, problem = output_tensor(output, self._n)
                if tensor is None:
                    raise UserError(
                        f"module {reference!r} cannot be captured: {problem}",
                        "name another module, such as one inside of it or the one that follows",
                    )
                self._receive(reference, tensor)

    def _check_calls(self, name: str, wanted: Mapping[int | None, str]) -> None:
        total = self._calls[name]
        if total == 0:
            raise UserError(
                f"module {name!r} is never called in the forward pass, so it has no output",
                "name a module that the network's forward really calls (a container such as nn.ModuleList is not)",
            )
        if None in wanted and total > 1:
            calls = ", ".join(repr(f"{name}@{number}") for number in range(1, min(total, 5) + 1))
            raise UserError(
                f"module {name!r} is called {total} times in one forward pass; expected once",
                f"name the call that you mean: {calls}{' ...' if total > 5 else ''}",
            )
        late = [number for number in wanted if number is not None and number > total]
        if late:
            raise UserError(
                f"{name}@{late[0]} asks for call {late[0]} of a module that is called {total} times in a forward pass",
                f"use {name}@1 to {name}@{total}" if total > 1 else f"use {name}",
            )


def output_tensor(output: Any, n: int) -> tuple[torch.Tensor | None, str]:
    """The one tensor `(n, ...)` of a module's output; or None and the reason why there is none.

    A tuple, list or mapping counts when exactly one of its entries is a tensor: `(output, None)` of an attention
    module, `(output, (h, c))` of an LSTM. With two there is no telling which one is meant.
    """
    if not isinstance(output, torch.Tensor):
        entries = list(output.values()) if isinstance(output, Mapping) else output
        if not isinstance(entries, list | tuple):
            return None, f"its output is a {type(output).__name__}, expected a tensor"
        tensors = [entry for entry in entries if isinstance(entry, torch.Tensor)]
        if len(tensors) != 1:
            return None, f"its output is a {type(output).__name__} of {len(tensors)} tensors, expected one"
        output = tensors[0]
    if output.is_nested or output.layout != torch.strided or output.is_quantized:
        return None, "its output is not a dense tensor"
    if output.is_complex():
        return None, "its output is complex, expected real numbers"
    if output.ndim == 0 or len(output) != n:
        return None, f"its output has shape {tuple(output.shape)}, expected one row for each of the {n} samples"
    return (output[:, None] if output.ndim == 1 else output), ""


def parse_reference(module: nn.Module, reference: str) -> tuple[str, int | None]:
    """A reference as module name and call number (None: the only call). Raises UserError for an unknown module."""
    names = [name for name, _ in module.named_modules(remove_duplicate=False) if name]
    if reference in names:
        return reference, None
    name, at, number = reference.rpartition("@")
    if at and number.isdecimal() and int(number) >= 1 and name in names:
        return name, int(number)
    wanted = name if at and number.isdecimal() else reference
    raise UserError(
        f"the network has no module {wanted!r}: {did_you_mean(wanted, names)}",
        NAMES_HINT,
    )


def trace(module: nn.Module, inputs: torch.Tensor) -> list[Call]:
    """All calls of all sub-modules in one undisturbed forward pass, in the order in which their outputs exist."""
    found: list[tuple[str, int, tuple[int, ...], str]] = []
    counts: Counter[str] = Counter()

    def on_output(name: str, child: nn.Module, args: Any, output: Any) -> None:
        counts[name] += 1
        tensor, problem = output_tensor(output, len(inputs))
        found.append((name, counts[name], () if tensor is None else tuple(tensor.shape[1:]), problem))

    handles = [child.register_forward_hook(partial(on_output, name)) for name, child in module.named_modules() if name]
    try:
        with undisturbed(module):
            module(inputs.clone())  # the network may overwrite its input
    finally:
        for handle in handles:
            handle.remove()
    return [Call(name, number, counts[name], shape, problem) for name, number, shape, problem in found]
