"""The pullback metric of a random network of one hidden layer as its width goes to infinity."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, pi, sqrt

import torch

from rra_cli.pullback.activations import Smooth, derivatives

# The normal density is below 1e-22 of its peak beyond so many standard deviations.
_REACH = 10.5
# Steps in standard deviations and in units of z: the error of the trapezoidal rule is exp(-2 pi a / h) for a function
# that is analytic within a of the real line, and a is pi / 2 for tanh and larger for the other activations.
_STEP_DEVIATIONS, _STEP_Z = 0.25, 0.2


@dataclass(frozen=True)
class Wide:
    """x to phi(W x + b) / sqrt(n), n to infinity, of W_ja ~ N(0, weight_variance), b_j ~ N(0, bias_variance).

    g_ab = e^Omega(s) (delta_ab + 2 Omega'(s) x_a x_b), s = |x|^2, e^Omega = weight_variance E[phi'(z)^2], z ~ N(0,
    weight_variance s + bias_variance). Points are `(m, d)`, d >= 1; results `(m,)` float64. Zavatone-Veth et al. 2023,
    "Neural networks learn to magnify areas near decision boundaries".
    """

    activation: Smooth
    weight_variance: float = 1.0
    bias_variance: float = 0.0

    def __post_init__(self) -> None:
        if not (self.weight_variance > 0 and self.bias_variance >= 0):
            raise ValueError(
                f"the variances are {self.weight_variance} and {self.bias_variance}; expected one above 0 for the "
                "weights and one of at least 0 for the biases"
            )
        derivatives(self.activation, torch.empty(0), 0)

    def omega(self, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Omega and its first two derivatives at s = |x|^2, each `(m,)`."""
        variance = self.weight_variance * s.to(torch.float64) + self.bias_variance
        mean, first, second = slope_moments(self.activation, variance)
        first, second = self.weight_variance * first / mean, self.weight_variance**2 * second / mean
        return torch.log(self.weight_variance * mean), first, second - first.square()

    def metric(self, points: torch.Tensor) -> torch.Tensor:
        """g, `(m, d, d)`."""
        points = points.to(torch.float64)
        omega, first, _ = self.omega(points.square().sum(dim=1))
        outer = points[:, :, None] * points[:, None, :]
        axes = torch.eye(points.shape[1], dtype=torch.float64)
        return torch.exp(omega)[:, None, None] * (axes + 2 * first[:, None, None] * outer)

    def log_volume(self, points: torch.Tensor) -> torch.Tensor:
        """log sqrt(det g), natural: det g = e^(d Omega) (1 + 2 s Omega')."""
        s = points.to(torch.float64).square().sum(dim=1)
        omega, first, _ = self.omega(s)
        return (points.shape[1] * omega + torch.log1p(2 * s * first)) / 2

    def scalar_curvature(self, points: torch.Tensor) -> torch.Tensor:
        """R = -(d - 1) s Omega' e^-Omega ((d + 2) Omega' + 2 (d - 2) s Omega'^2 + 4 s Omega'') / (1 + 2 s Omega')^2.

        R = |A|^2 - |tr A|^2 of the symmetric A_abc = d_c g_ab / 2, as for finite width (`shallow.Shallow`), of which
        A_rrr and A_rtt along and across the radius are all that there is.
        """
        d = points.shape[1]
        s = points.to(torch.float64).square().sum(dim=1)
        omega, first, second = self.omega(s)
        inner = (d + 2) * first + 2 * (d - 2) * s * first.square() + 4 * s * second
        return -(d - 1) * s * first * torch.exp(-omega) * inner / (1 + 2 * s * first).square() + 0.0


def slope_moments(activation: Smooth, variance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """E[phi'(z)^2], z ~ N(0, variance), and its first two derivatives by the variance; each of its shape, float64.

    erf: E = 2 / (pi sqrt(1 + 2 q)); sin: E = (1 + exp(-2 q)) / 2; the others by `slope_moments_by_quadrature`.
    """
    q = variance.to(torch.float64)
    if activation == "erf":
        mean = 2 / (pi * torch.sqrt(1 + 2 * q))
        return mean, -mean / (1 + 2 * q), 3 * mean / (1 + 2 * q).square()
    if activation == "sin":
        decay = torch.exp(-2 * q)
        return (1 + decay) / 2, -decay, 2 * decay
    return slope_moments_by_quadrature(activation, q)


def slope_moments_by_quadrature(
    activation: Smooth, variance: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As `slope_moments`, for every activation.

    d/dq E[h(z)] = E[h''(z)] / 2 of h = phi'^2 (the heat equation), so that nothing is divided by the variance, which
    may be 0. By the trapezoidal rule: it converges geometrically for analytic functions, as Gauss-Hermite quadrature
    does, whose nodes lie too far apart where the variance is large.
    """
    q = variance.to(torch.float64)
    deviation = torch.sqrt(q)
    widest = float(deviation.max()) if len(q) else 0.0
    step = min(_STEP_DEVIATIONS, _STEP_Z / widest) if widest > 0 else _STEP_DEVIATIONS
    half = ceil(_REACH / step)
    nodes = torch.arange(-half, half + 1, dtype=torch.float64) * step
    weights = torch.exp(-nodes.square() / 2) * (step / sqrt(2 * pi))
    moments: tuple[list[torch.Tensor], ...] = ([], [], [])
    for part in deviation.split(max(1, (1 << 21) // len(nodes))):
        _, p1, p2, p3, p4, p5 = derivatives(activation, part[:, None] * nodes, 5)
        moments[0].append(p1.square() @ weights)
        moments[1].append((p2.square() + p1 * p3) @ weights)
        moments[2].append((3 * p3.square() + 4 * p2 * p4 + p1 * p5) @ weights / 2)
    mean, first, second = (torch.cat(values) if values else q for values in moments)
    return mean, first, second
