"""The pullback metric of networks of one hidden layer, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import torch

from rra_cli.errors import UserError
from rra_cli.pullback.activations import Smooth, derivatives

# Minors that are added up: more than a machine does in a minute.
MOST_MINORS = 2_000_000
_BLOCK = 1 << 22  # numbers of a temporary


@dataclass(frozen=True, eq=False)
class Shallow:
    """The map x to phi(W x + b) of d inputs to n hidden units, with the metric g = J^T J / n.

    weights: `(n, d)`; biases: `(n,)`; computed in float64. Points are `(m, d)`, results `(m,)` float64.
    """

    weights: torch.Tensor
    biases: torch.Tensor
    activation: Smooth

    def __post_init__(self) -> None:
        weights, biases = (values.detach().to(torch.float64) for values in (self.weights, self.biases))
        if weights.ndim != 2 or biases.shape != weights.shape[:1]:
            raise ValueError(
                f"weights {tuple(weights.shape)} and biases {tuple(biases.shape)} do not belong to a layer; expected "
                "(n, d) and (n,)"
            )
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "biases", biases)
        derivatives(self.activation, biases[:0], 0)

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        """The hidden layer, `(m, n)`."""
        return derivatives(self.activation, self._inputs(points), 0)[0]

    def metric(self, points: torch.Tensor) -> torch.Tensor:
        """g = W^T diag(phi'^2) W / n, `(m, d, d)`."""
        slopes = derivatives(self.activation, self._inputs(points), 1)[1]
        scaled = slopes[:, :, None] * self.weights
        return scaled.mT @ scaled / len(self.weights)

    def log_volume(self, points: torch.Tensor) -> torch.Tensor:
        """log sqrt(det g), natural; -inf where g is singular.

        From the triangular factor of diag(phi') W rather than from g, whose condition number is the square.
        """
        slopes = derivatives(self.activation, self._inputs(points), 1)[1]
        n, d = self.weights.shape
        if n < d:
            return torch.full((len(points),), -torch.inf, dtype=torch.float64)
        triangle = torch.linalg.qr(slopes[:, :, None] * self.weights / n**0.5, mode="r")[1]
        return triangle.diagonal(dim1=1, dim2=2).abs().log().sum(dim=1)

    def determinant_by_minors(self, points: torch.Tensor) -> torch.Tensor:
        """det g = 1 / (n^d d!) sum over j1 ... jd of M_{j1..jd}^2 phi'(z_j1)^2 ... phi'(z_jd)^2.

        Zavatone-Veth et al. 2023, "Neural networks learn to magnify areas near decision boundaries"; M are the d x d
        minors of W. It holds each set of d units once instead of d!
        times (Cauchy-Binet). For small n and d: it shows where volume comes from, unit pair by unit pair, and is the
        check of `log_volume`. Raises UserError for more than `MOST_MINORS` minors.
        """
        n, d = self.weights.shape
        if comb(n, d) > MOST_MINORS:
            raise UserError(
                f"the determinant by minors of {n} units and {d} inputs has {comb(n, d):.3g} minors, more than "
                f"{MOST_MINORS:,}",
                "use log_volume, which gives the same number from the Gram matrix",
            )
        slopes = derivatives(self.activation, self._inputs(points), 1)[1].square()
        total = slopes.new_zeros(len(slopes))
        for units in torch.combinations(torch.arange(n), d).split(max(1, _BLOCK // max(1, d * len(slopes)))):
            minors = torch.linalg.det(self.weights[units]).square()
            total += slopes[:, units].prod(dim=2) @ minors
        return total / float(n) ** d

    def scalar_curvature(self, points: torch.Tensor) -> torch.Tensor:
        """R of g at every point; NaN where g is singular.

        The first derivatives of g are symmetric in all three indices, d_c g_ab = 2 A_abc with A_abc = (1/n) sum_j
        phi'_j phi''_j w_ja w_jb w_jc, so that its second ones drop out of the curvature: R = |A|^2 - |tr A|^2, indices
        raised by g. With k_ij = w_i g^-1 w_j and c_j = phi'_j phi''_j / n that is sum_ij c_i c_j (k_ij^3 - k_ii k_ij
        k_jj), which is taken where n < d^2. The code of Zavatone-Veth et al. (nn_curvature, `ricci_analytic`) gives 3
        times this: the quadratic terms of its Ricci tensor have the wrong sign.
        """
        found = [self._curvature(point) for point in self._inputs(points)]
        return torch.stack(found) if found else torch.empty(0, dtype=torch.float64)

    def _curvature(self, z: torch.Tensor) -> torch.Tensor:
        n, d = self.weights.shape
        _, slope, bend = derivatives(self.activation, z, 2)
        triangle = torch.linalg.qr(slope[:, None] * self.weights / n**0.5, mode="r")[1]
        sigma = torch.linalg.svdvals(triangle)
        if n < d or not bool(sigma[-1] > n * torch.finfo(torch.float64).eps * sigma[0]):
            return z.new_tensor(torch.nan)
        # Rows w_j in an orthonormal basis of g.
        rows = torch.linalg.solve_triangular(triangle.mT, self.weights.mT, upper=False).mT
        c = slope * bend / n
        squared = rows.square().sum(dim=1)
        trace = (c * squared) @ rows
        return _cube(rows, c) - trace.square().sum()

    def _inputs(self, points: torch.Tensor) -> torch.Tensor:
        """Pre-activations `(m, n)`."""
        if points.ndim != 2 or points.shape[1] != self.weights.shape[1]:
            raise ValueError(f"points are {tuple(points.shape)}; expected (m, {self.weights.shape[1]})")
        return points.to(self.weights) @ self.weights.mT + self.biases


def _cube(rows: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """|A|^2 of A_abe = sum_j c_j r_ja r_jb r_je, from whichever of its two forms is cheaper."""
    n, d = rows.shape
    if d * d <= n:
        weighted = c[:, None] * rows
        return torch.stack([((weighted * rows[:, a : a + 1]).mT @ rows).square().sum() for a in range(d)]).sum()
    step = max(1, _BLOCK // n)
    total = rows.new_zeros(())
    for start in range(0, n, step):
        total += c[start : start + step] @ (rows[start : start + step] @ rows.mT).pow(3) @ c
    return total
