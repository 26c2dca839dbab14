"""A network rewritten so that many derivative passes through it cost little more than its convolutions.

In evaluation mode batch norm is a linear map, so it goes into the weights of the convolution before it; the derivative
of a smooth activation is the same in every backward pass from one point, so it is computed once and multiplied with.
Of a ResNet34-GELU's backward pass on a CPU these two took a fifth; and channels-last spares the reordering of maps.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import nn

# Smooth functions of one number that have no parameters; ReLU and its like are as cheap as a multiplication already.
SMOOTH = (nn.GELU, nn.Sigmoid, nn.Tanh, nn.SiLU, nn.Mish, nn.Softplus, nn.ELU, nn.CELU, nn.SELU, nn.LogSigmoid)
# Relative difference (float64) up to which a rewritten network counts as the same.
SAME = 1e-9

Evaluate = Callable[[nn.Module, torch.Tensor], Sequence[torch.Tensor]]


def fast_network(module: nn.Module, keep: Iterable[str], points: torch.Tensor, evaluate: Evaluate) -> nn.Module:
    """A copy of the network that gives the same values and derivatives, faster.

    module: in evaluation mode, frozen. keep: names of modules whose output is wanted. points: `(n, ...)` two or more
    inputs at which `evaluate(network, points)` is compared in float64: where a network uses the output of a convolution
    beside its batch norm, nothing is folded.
    """
    fast = with_saved_derivatives(module)
    pairs = [(conv, norm) for conv, norm in foldable(module, points) if conv not in set(keep)]
    if pairs:
        folded = fold_batch_norm(copy.deepcopy(fast).double(), pairs)
        before, after = (evaluate(network, points.double()) for network in (copy.deepcopy(module).double(), folded))
        if all(_same(*values) for values in zip(before, after, strict=True)):
            fast = folded.to(points.dtype)
    if points.device.type == "cpu" and points.ndim == 4:
        last = copy.deepcopy(fast).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # A network may lean on the order in memory (`view`); then it keeps the one that it knows.
        with suppress(RuntimeError):
            evaluate(last, points)
            fast = last
    return fast.eval().requires_grad_(False)


def foldable(module: nn.Module, points: torch.Tensor) -> list[tuple[str, str]]:
    """Names of the convolutions and of the batch norms that are given just their output, both called once."""
    made_by: dict[int, str] = {}
    pairs: list[tuple[str, str]] = []
    outputs: list[torch.Tensor] = []  # kept alive, so that no address is used twice
    calls: Counter[str] = Counter()

    def on_call(name: str) -> Callable[..., None]:
        def hook(child: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            calls[name] += 1
            if isinstance(child, nn.Conv2d):
                outputs.append(output)
                made_by[id(output)] = name
            elif inputs and id(inputs[0]) in made_by:
                pairs.append((made_by[id(inputs[0])], name))

        return hook

    handles = [
        child.register_forward_hook(on_call(name))
        for name, child in module.named_modules()
        if type(child) in (nn.Conv2d, nn.BatchNorm2d)
    ]
    try:
        with torch.no_grad():
            module(points.clone())
    finally:
        for handle in handles:
            handle.remove()
    return [(conv, norm) for conv, norm in pairs if calls[conv] == calls[norm] == 1]


def fold_batch_norm(module: nn.Module, pairs: Iterable[tuple[str, str]]) -> nn.Module:
    """The network, changed in place: batch norm y = a x + b goes into the convolution, and an identity stays."""
    for conv_name, norm_name in pairs:
        conv, norm = module.get_submodule(conv_name), module.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        _replace(module, conv_name, torch.nn.utils.fuse_conv_bn_eval(conv, norm))
        _replace(module, norm_name, nn.Identity())
    return module


def with_saved_derivatives(module: nn.Module) -> nn.Module:
    """A copy whose smooth activations compute their derivative in the forward pass, once for all backward passes."""
    fast = copy.deepcopy(module)
    for name, child in list(fast.named_modules()):
        if type(child) in SMOOTH and name:
            _replace(fast, name, SavedDerivative(child))
    return fast


class SavedDerivative(nn.Module):
    """A function of single numbers that keeps its derivative for the backward passes; first derivatives only."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = copy.deepcopy(function)
        if getattr(self.function, "inplace", False):
            self.function.inplace = False  # type: ignore[assignment]

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """`(n, ...)` to `(n, ...)`."""
        if not values.requires_grad:  # forward mode: its derivative is used only once
            return self.function(values)
        with torch.enable_grad():
            leaf = values.detach().requires_grad_()
            result = self.function(leaf)
            (derivative,) = torch.autograd.grad(result, leaf, torch.ones_like(result))
        return _Known.apply(values, result.detach(), derivative)


class _Known(torch.autograd.Function):
    """A function whose values and derivatives are known already."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, result: torch.Tensor, derivative: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(derivative)
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        (derivative,) = ctx.saved_tensors
        return gradient * derivative, None, None


def _replace(module: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, new)


def _same(before: torch.Tensor, after: torch.Tensor) -> bool:
    return bool((before - after).abs().max() <= SAME * before.abs().max())
