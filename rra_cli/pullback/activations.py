"""Smooth activations with their derivatives in closed form."""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Literal, get_args

import torch

Smooth = Literal["sigmoid", "tanh", "erf", "gelu", "softplus", "sin"]


def derivatives(activation: Smooth, z: torch.Tensor, order: int) -> list[torch.Tensor]:
    """The activation and its first `order` derivatives at z, each of z's shape.

    erf is erf(z / sqrt 2), whose derivative is twice the normal density (Zavatone-Veth et al. 2023); gelu z Phi(z), the
    exact one. Raises ValueError for another activation.
    """
    if activation not in _DERIVATIVES:
        raise ValueError(f"activation is {activation!r}; expected a smooth one: {', '.join(get_args(Smooth))}")
    return _DERIVATIVES[activation](z, order)


def _sigmoid(z: torch.Tensor, order: int) -> list[torch.Tensor]:
    return _polynomials(torch.sigmoid(z), [0.0, 1.0, -1.0], order)


def _tanh(z: torch.Tensor, order: int) -> list[torch.Tensor]:
    return _polynomials(torch.tanh(z), [1.0, 0.0, -1.0], order)


def _polynomials(y: torch.Tensor, slope: list[float], order: int) -> list[torch.Tensor]:
    """Derivatives of a y with y' = a polynomial in y: of each, P'(y) y' is the next. Coefficients from y^0 on."""
    found, p = [y], [0.0, 1.0]
    for _ in range(order):
        inner = [number * c for number, c in enumerate(p)][1:]
        p = [0.0] * (len(inner) + len(slope) - 1)
        for i, left in enumerate(inner):
            for j, right in enumerate(slope):
                p[i + j] += left * right
        value = torch.zeros_like(y)
        for coefficient in reversed(p):
            value = value * y + coefficient
        found.append(value)
    return found


def _densities(z: torch.Tensor, order: int) -> list[torch.Tensor]:
    """The normal density and its derivatives, (-1)^k He_k(z) density(z)."""
    density = torch.exp(-z.square() / 2) / sqrt(2 * pi)
    hermite = [torch.ones_like(z), z]
    for k in range(1, order):
        hermite.append(z * hermite[k] - k * hermite[k - 1])
    return [(-1) ** k * hermite[k] * density for k in range(order + 1)]


def _erf(z: torch.Tensor, order: int) -> list[torch.Tensor]:
    return [torch.erf(z / sqrt(2)), *(2 * value for value in _densities(z, max(order - 1, 0))[:order])]


def _gelu(z: torch.Tensor, order: int) -> list[torch.Tensor]:
    """(z Phi)^(k) = z Phi^(k) + k Phi^(k-1)."""
    normal = [torch.special.ndtr(z), *_densities(z, max(order - 1, 0))[:order]]
    return [z * normal[0], *(z * normal[k] + k * normal[k - 1] for k in range(1, order + 1))]


def _softplus(z: torch.Tensor, order: int) -> list[torch.Tensor]:
    value = torch.logaddexp(z, torch.zeros_like(z))
    return [value, *_sigmoid(z, max(order - 1, 0))[:order]]


def _sin(z: torch.Tensor, order: int) -> list[torch.Tensor]:
    return [torch.sin(z + k * pi / 2) if k % 2 else (-1) ** (k // 2) * torch.sin(z) for k in range(order + 1)]


_DERIVATIVES: dict[str, Callable[[torch.Tensor, int], list[torch.Tensor]]] = {
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "erf": _erf,
    "gelu": _gelu,
    "softplus": _softplus,
    "sin": _sin,
}
