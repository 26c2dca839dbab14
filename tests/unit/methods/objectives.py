"""Tiny encoders and batches for the tests of methods, in float64 so that oracles are exact."""

from __future__ import annotations

import torch
from torch import nn

from rra_cli.methods.method import Batch, Method, Objective
from rra_cli.models.encoder import Encoder, Layer

N, CLASSES, FEATURES = 12, 3, 5


def encoder(n_classes: int = 0, *, norm: bool = False) -> Encoder:
    """Images `(n, 1, 2, 2)` to 5 features, and to classes where there are any."""
    parts: dict[str, nn.Module] = {"flatten": nn.Flatten(), "linear": nn.Linear(4, FEATURES)}
    if norm:
        parts["norm"] = nn.BatchNorm1d(FEATURES)
    parts["features"] = nn.Tanh()
    layers = [Layer("input", ""), Layer("features", "features")]
    if n_classes:
        parts["logits"] = nn.Linear(FEATURES, n_classes)
        layers.append(Layer("logits", "logits"))
    module = nn.Sequential()
    for name, part in parts.items():
        module.add_module(name, part)
    return Encoder(module.double(), tuple(layers), "features", FEATURES)


def started(method: Method, *, norm: bool = False, seed: int = 0) -> tuple[nn.Module, Objective]:
    """A fresh encoder's module and the method's objective, both in float64."""
    torch.manual_seed(seed)
    chosen = encoder(CLASSES if method.classifies else 0, norm=norm)
    return chosen.module, method.objective(chosen, CLASSES).double()


def batch(n_views: int, seed: int = 1, n: int = N, *, labelled: bool = True) -> Batch:
    """Random images; labels 0, 1, 2, 0, ..., ids far from them."""
    generator = torch.Generator().manual_seed(seed)
    views = tuple(torch.randn(n, 1, 2, 2, dtype=torch.float64, generator=generator) for _ in range(n_views))
    return Batch(views, torch.arange(n) % CLASSES if labelled else None, 1000 + torch.arange(n))


def gradients(module: nn.Module) -> list[torch.Tensor]:
    """A copy of all gradients, which are then cleared."""
    found = [parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None]
    module.zero_grad()
    return found
