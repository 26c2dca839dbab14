"""What every loss does with its rows: check them, leave autocast, bring them to unit length."""

from __future__ import annotations

import math

import torch

# Rows shorter than this have no direction (the default of torch.nn.functional.normalize).
SHORTEST = 1e-12


def full_precision(rows: torch.Tensor) -> torch.autocast:
    """A context without autocast on the device of `rows`: products of float32 rows stay float32."""
    return torch.autocast(rows.device.type, enabled=False)


def widened(rows: torch.Tensor) -> torch.Tensor:
    """The rows as float32, or float64 where they are; half precisions are too coarse for exponents and means."""
    return rows if rows.dtype == torch.float64 else rows.float()


def unit_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows `(n, d)` divided by their Euclidean lengths, in float32 at least.

    A row shorter than 1e-12 has no direction: it becomes zero and gets no gradient. (Dividing it by 1e-12 instead, as
    `torch.nn.functional.normalize` does, has the same value at zero, and a gradient of 1e12.)
    """
    rows = widened(rows)
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    directed = ~(lengths <= SHORTEST)  # NaN counts as directed: it must reach the loss, where it is seen
    return torch.where(directed, rows / torch.where(directed, lengths, 1.0), 0.0)


def check_matrix(name: str, rows: torch.Tensor) -> None:
    """Raises ValueError unless `rows` is `(n, d)` with n, d >= 1."""
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"{name} has shape {tuple(rows.shape)}; (n, d) is expected, with at least one row and column")


def check_pair(name1: str, rows1: torch.Tensor, name2: str, rows2: torch.Tensor, least: int = 1) -> None:
    """Raises ValueError unless both are `(n, d)` of one shape with n >= least and d >= 1."""
    check_matrix(name1, rows1)
    check_matrix(name2, rows2)
    if rows1.shape != rows2.shape:
        raise ValueError(
            f"{name1} has shape {tuple(rows1.shape)} and {name2} {tuple(rows2.shape)}; "
            "row i of both belongs to sample i, so the shapes are equal"
        )
    if len(rows1) < least:
        raise ValueError(f"a batch of {len(rows1)} is too small: this loss compares samples, so it needs {least}")


def check_temperature(temperature: float) -> None:
    """Raises ValueError unless the temperature is a positive finite number."""
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature is {temperature}; it is a positive number, such as 0.1")
