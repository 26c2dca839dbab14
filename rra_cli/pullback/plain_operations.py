"""Operations whose own second derivatives torch lacks or gets wrong, replaced by plain ones while a map is derived.

torch 2.13: the JVP of a JVP of `layer_norm` is wrong without a word (pytorch issue 196700; so are derivatives of third
order by reverse mode, pull request 176218), and so is that of batch statistics (issue 196699), which instance norm
takes; SiLU, Mish, GLU, hard sigmoid and fused attention have none.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch.func import jvp
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


@contextmanager
def plain_operations() -> Iterator[None]:
    """Within, the operations above are computed by others that have right derivatives of every order."""
    _load_forward_mode()
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), _Replace():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@cache
def _load_forward_mode() -> None:
    """What torch loads at the first JVP of a process: it warns about its own use of `torch.jit.script`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        jvp(torch.sin, (torch.zeros(()),), (torch.zeros(()),))


def layer_norm(
    values: torch.Tensor,
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    *_: object,
) -> torch.Tensor:
    """As `torch.nn.functional.layer_norm`."""
    dims = tuple(range(-len(normalized_shape), 0))
    normed = _standardised(values, dims, eps)
    normed = normed if weight is None else normed * weight
    return normed if bias is None else normed + bias


def instance_norm(
    values: torch.Tensor,
    running_mean: torch.Tensor | None = None,
    running_var: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    """As `torch.nn.functional.instance_norm`, without updating running statistics."""
    shape = (1, -1, *[1] * (values.ndim - 2))
    if use_input_stats or running_mean is None or running_var is None:
        normed = _standardised(values, tuple(range(2, values.ndim)), eps)
    else:
        normed = (values - running_mean.view(shape)) / torch.sqrt(running_var.view(shape) + eps)
    normed = normed if weight is None else normed * weight.view(shape)
    return normed if bias is None else normed + bias.view(shape)


def silu(values: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    """As `torch.nn.functional.silu`."""
    return values * torch.sigmoid(values)


def mish(values: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    """As `torch.nn.functional.mish`."""
    return values * torch.tanh(functional.softplus(values))


def glu(values: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """As `torch.nn.functional.glu`."""
    left, right = values.chunk(2, dim)
    return left * torch.sigmoid(right)


def hardsigmoid(values: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    """As `torch.nn.functional.hardsigmoid`."""
    return functional.relu6(values + 3.0) / 6.0


def _standardised(values: torch.Tensor, dims: tuple[int, ...], eps: float) -> torch.Tensor:
    centred = values - values.mean(dims, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(dims, keepdim=True) + eps)


_PLAIN: dict[Any, Callable[..., torch.Tensor]] = {
    functional.layer_norm: layer_norm,
    torch.layer_norm: layer_norm,
    functional.instance_norm: instance_norm,
    functional.silu: silu,
    functional.mish: mish,
    functional.glu: glu,
    functional.hardsigmoid: hardsigmoid,
}


class _Replace(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _PLAIN.get(func, func)(*args, **(kwargs or {}))
