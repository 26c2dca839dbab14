"""Volume element, rank and spectrum of Jacobians, from their smaller Gram in float64.

A Gram squares singular values, so that in float64 those below 1e-8 of the largest are lost, and one of 1/c of the
largest has a relative error of about c^2 1e-16. A Jacobian made in float32 has one of c 1e-7 already, and knows no
values beyond c = 1 / (max(n, d) 1.2e-7), so its Gram adds a hundredth to that error at most, and Cholesky serves
wherever the rank is surely full. Of a Jacobian made in float64 the Gram serves where it is well conditioned
(`GRAM_CONDITION`), and elsewhere singular values are those of the Jacobian itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

# Up to this condition number (of the Gram) the log-determinant of a float64 Jacobian is right to about 1e-10.
GRAM_CONDITION = 1e6
_PANEL_BYTES = 32 << 20


@dataclass(frozen=True)
class LogVolumes:
    """Of a batch of n matrices.

    log_volume: `(n,)` float64, natural logarithm of the product of the `n_used` largest singular values; NaN where
    there is none or the matrix is not finite. rank, n_used: `(n,)` int64, -1 where the matrix is not finite. spectrum:
    `(n, k)` float64, singular values in descending order; None where they were not asked for.
    """

    log_volume: torch.Tensor
    rank: torch.Tensor
    n_used: torch.Tensor
    spectrum: torch.Tensor | None


def rank_tolerance(n_outputs: int, n_inputs: int, forward: torch.dtype) -> float:
    """Singular values up to this fraction of the largest are rounding errors of the forward pass."""
    return max(n_outputs, n_inputs) * torch.finfo(forward).eps


def log_volumes(
    grams: torch.Tensor,
    matrices: torch.Tensor | None,
    tolerance: float,
    *,
    forward: torch.dtype,
    top: int | None = None,
    spectrum: bool = False,
) -> LogVolumes:
    """From the smaller Grams `(n, k, k)` in float64 and, where they are at hand, the matrices `(n, k, length)`.

    forward: the type that the matrices were computed in. Without the matrices of a float64 pass singular values below
    sqrt(k eps) = 1e-7 of the largest are not told from zero: the tolerance is then at least that.
    """
    k = grams.shape[-1]
    precise = forward == torch.float64 and matrices is not None
    if forward == torch.float64 and not precise:
        tolerance = max(tolerance, (k * torch.finfo(torch.float64).eps) ** 0.5)
    condition = GRAM_CONDITION if precise else tolerance**-2
    result = LogVolumes(
        torch.full((len(grams),), torch.nan, dtype=torch.float64, device=grams.device),
        torch.full((len(grams),), -1, dtype=torch.int64, device=grams.device),
        torch.full((len(grams),), -1, dtype=torch.int64, device=grams.device),
        grams.new_full((len(grams), k), torch.nan) if spectrum else None,
    )
    finite = torch.isfinite(grams).all(dim=(1, 2))
    pending = finite.clone()
    if not spectrum and (top is None or top >= k):
        log_determinants, certain = by_cholesky(torch.where(finite[:, None, None], grams, 0.0), condition)
        done = certain & finite
        result.log_volume[done] = log_determinants[done] / 2
        result.rank[done] = result.n_used[done] = k
        pending &= ~done
    indices = pending.nonzero()[:, 0]
    decomposed = matrices if precise and matrices is not None else grams
    for some in indices.split(max(1, _PANEL_BYTES // (8 * decomposed[0].numel()))):
        values = torch.linalg.svdvals(matrices[some]) if decomposed is matrices else gram_roots(grams[some])
        result.log_volume[some], result.rank[some], result.n_used[some] = from_singular_values(values, tolerance, top)
        if result.spectrum is not None:
            result.spectrum[some] = values
    return result


def by_cholesky(grams: torch.Tensor, condition: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-determinants `(n,)` of `(n, k, k)` symmetric matrices, and whether each is surely of lower condition number.

    1 / |G^-1|_F bounds the smallest eigenvalue from below, |G|_F the largest from above.
    """
    factors, failed = torch.linalg.cholesky_ex(grams)
    diagonal = factors.diagonal(dim1=1, dim2=2)
    sound = (failed == 0) & (diagonal > 0).all(dim=1)
    identity = torch.eye(grams.shape[-1], dtype=grams.dtype, device=grams.device)
    inverses = torch.cholesky_inverse(torch.where(sound[:, None, None], factors, identity))
    bound = torch.linalg.matrix_norm(inverses) * torch.linalg.matrix_norm(grams)
    return 2 * diagonal.log().sum(dim=1), sound & (bound < condition)


def gram_roots(grams: torch.Tensor) -> torch.Tensor:
    """Finite grams `(n, k, k)` in float64 -> `(n, k)` singular values of their matrices, descending."""
    return torch.linalg.eigvalsh(grams).clamp(min=0).sqrt().flip(1)


def from_singular_values(
    values: torch.Tensor, tolerance: float, top: int | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """values: `(n, k)` descending -> log volume (NaN where no value counts), rank, number of values used, `(n,)`."""
    rank = (values > tolerance * values[:, :1]).sum(dim=1)
    n_used = rank if top is None else rank.clamp(max=top)
    used = torch.arange(values.shape[1], device=values.device) < n_used[:, None]
    log_volume = torch.where(used, values.log(), 0.0).sum(dim=1)
    return torch.where(n_used > 0, log_volume, torch.nan), rank, n_used


def grams_of_rows(matrices: torch.Tensor) -> torch.Tensor:
    """`(n, k, length)` of any float -> `(n, k, k)` V V^T in float64, a panel of columns at a time."""
    n, k, length = matrices.shape
    grams = torch.zeros(n, k, k, dtype=torch.float64, device=matrices.device)
    width = max(1, _PANEL_BYTES // (8 * n * k))
    for start in range(0, length, width):
        panel = matrices[:, :, start : start + width].double()
        grams.baddbmm_(panel, panel.mT)
    return grams


def add_grams_of_columns(grams: torch.Tensor, rows: torch.Tensor) -> None:
    """Adds the share V^T V of some rows `(n, r, k)` to `grams` `(n, k, k)`, in place, in float64."""
    rows = rows.double()
    grams.baddbmm_(rows.mT, rows)
