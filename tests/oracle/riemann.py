"""Curvature the long way: Christoffel symbols and the Ricci tensor of a metric by automatic differentiation.

Independent of the product's way (Gauss's equation): nothing here knows of second derivatives of the map.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch.func import jacfwd, jacrev, jvp

with warnings.catch_warnings():  # what torch's first JVP of a process loads warns of torch's own doing
    warnings.simplefilter("ignore", DeprecationWarning)
    jvp(torch.sin, (torch.zeros(()),), (torch.zeros(()),))

Field = Callable[[torch.Tensor], torch.Tensor]


def pullback(f: Field) -> Field:
    """x `(d,)` to J^T J `(d, d)` of a map `(1, d)` to `(1, n)`."""

    def metric(x: torch.Tensor) -> torch.Tensor:
        jacobian = jacrev(lambda point: f(point[None]).flatten())(x)
        return jacobian.mT @ jacobian

    return metric


def christoffel(metric: Field) -> Field:
    """x to Gamma^i_jk `(d, d, d)`, of the second kind."""

    def symbols(x: torch.Tensor) -> torch.Tensor:
        slope = jacfwd(metric)(x)  # slope[j, k, c] = d_c g_jk
        first_kind = (slope.permute(0, 2, 1) + slope - slope.permute(2, 0, 1)) / 2
        # first_kind[n, j, k] = (d_j g_nk + d_k g_nj - d_n g_jk) / 2
        return torch.einsum("in,njk->ijk", torch.linalg.inv(metric(x)), first_kind)

    return symbols


def scalar_curvature(metric: Field, x: torch.Tensor, quadratic_sign: float = 1.0) -> torch.Tensor:
    """R = g^bn (d_a Gamma^a_bn - d_b Gamma^a_an + Gamma^a_ar Gamma^r_bn - Gamma^a_br Gamma^r_an).

    quadratic_sign = -1: with the sign of the last two terms flipped, as `ricci` of the code of Zavatone-Veth et al.
    (nn_curvature, src/utils/accessories_autograd.py, commit 0463316) has it.
    """
    gamma, slope = christoffel(metric)(x), jacfwd(christoffel(metric))(x)  # slope[i, j, k, c] = d_c Gamma^i_jk
    ricci = torch.einsum("abna->bn", slope) - torch.einsum("aanb->bn", slope)
    quadratic = torch.einsum("aar,rbn->bn", gamma, gamma) - torch.einsum("abr,ran->bn", gamma, gamma)
    return torch.einsum("bn,bn->", torch.linalg.inv(metric(x)), ricci + quadratic_sign * quadratic)


def authors_shallow_curvature(metric: Field, x: torch.Tensor) -> torch.Tensor:
    """`scalcurv_shallow` of the same code: -3/4 g^ma g^nb g^rl (d_a g_mr d_b g_nl - d_b g_mr d_a g_nl)."""
    inverse, slope = torch.linalg.inv(metric(x)), jacfwd(metric)(x)
    first = torch.einsum("ma,nb,rl,mra,nlb->", inverse, inverse, inverse, slope, slope)
    second = torch.einsum("ma,nb,rl,mrb,nla->", inverse, inverse, inverse, slope, slope)
    return -0.75 * (first - second)


def brioschi(metric: Field, x: torch.Tensor, step: float) -> float:
    """Gaussian curvature from E, F, G and their central differences alone: the formula of Brioschi.

    x: `(2,)` float64.
    """
    u, v = torch.eye(2, dtype=torch.float64) * step

    def at(i: int, j: int) -> torch.Tensor:
        return metric(x + i * u + j * v)

    g, du, dv = at(0, 0), (at(1, 0) - at(-1, 0)) / (2 * step), (at(0, 1) - at(0, -1)) / (2 * step)
    duu, dvv = (at(1, 0) - 2 * g + at(-1, 0)) / step**2, (at(0, 1) - 2 * g + at(0, -1)) / step**2
    duv = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / (4 * step**2)
    e, f, h = 0, (0, 1), 1
    corner = -dvv[e, e] / 2 + duv[f] - duu[h, h] / 2
    one = torch.stack(
        [
            torch.stack([corner, du[e, e] / 2, du[f] - dv[e, e] / 2]),
            torch.stack([dv[f] - du[h, h] / 2, g[e, e], g[f]]),
            torch.stack([dv[h, h] / 2, g[f], g[h, h]]),
        ]
    )
    zero = torch.zeros((), dtype=torch.float64)
    two = torch.stack(
        [
            torch.stack([zero, dv[e, e] / 2, du[h, h] / 2]),
            torch.stack([dv[e, e] / 2, g[e, e], g[f]]),
            torch.stack([du[h, h] / 2, g[f], g[h, h]]),
        ]
    )
    return float((torch.linalg.det(one) - torch.linalg.det(two)) / torch.linalg.det(g) ** 2)
