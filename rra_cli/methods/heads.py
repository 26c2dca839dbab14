"""Projectors and predictors: small MLPs behind the representation. They belong to the objective, not to the encoder."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from torch import nn

from rra_cli.errors import UserError
from rra_cli.models.encoder import Encoder

# Which of a head's linear layers a batch norm follows: none, all but the last, or all.
Norm = Literal["none", "hidden", "all"]


def mlp_head(
    n_in: int, widths: Sequence[int], *, norm: Norm, last_affine: bool = True, last_bias: bool = True
) -> nn.Sequential:
    """Linear layers of these widths, with ReLU between them: `(n, n_in)` to `(n, widths[-1])`.

    The blocks are called 1, 2, ... and hold `linear`, `norm` and `activation`, as far as they have them. A layer with
    batch norm behind it has no bias, which the norm would remove. last_affine: whether the last batch norm has scale
    and shift; last_bias: whether a last layer without batch norm has a bias. No widths: the identity.

    Weights: torch's default, from its global generator.
    """
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    for number, width in enumerate(widths, start=1):
        is_last = number == len(widths)
        has_norm = norm == "all" or (norm == "hidden" and not is_last)
        has_bias = not has_norm and (last_bias or not is_last)
        parts: OrderedDict[str, nn.Module] = OrderedDict(linear=nn.Linear(n_in, width, bias=has_bias))
        if has_norm:
            parts["norm"] = nn.BatchNorm1d(width, affine=last_affine or not is_last)
        if not is_last:
            parts["activation"] = nn.ReLU()
        blocks[str(number)] = nn.Sequential(parts)
        n_in = width
    return nn.Sequential(blocks)


def check_widths(name: str, widths: Sequence[int], least: int = 0) -> None:
    """Raises ValueError where a head has fewer than `least` layers, or one without units."""
    if len(widths) < least or any(width < 1 for width in widths):
        layers = f"at least {least} layer{'s' if least > 1 else ''}, each of " if least else "layers of "
        raise ValueError(f"{name} is {list(widths)}; expected {layers}at least 1 unit, such as [2048, 128]")


def features_of(encoder: Encoder) -> int:
    """Numbers per image of the encoder's representation. Raises `UserError` where the model does not say."""
    if encoder.n_features < 1:
        raise UserError(
            "this method puts a projector on the representation, but the model does not say how many features that has",
            "choose another model, or let its build() give Encoder(..., n_features=...)",
        )
    return encoder.n_features
