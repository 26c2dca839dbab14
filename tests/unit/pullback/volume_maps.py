"""Maps with known volume elements, and networks to differentiate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rra_cli.pullback.layer_map import LayerMaps


class Surface(nn.Module):
    """A function `(n, d) -> (n, n_outputs)` as a network with one layer, `layer`."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function
        self.layer = nn.Identity()

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return self.layer(self.function(points))


def surface(function: Callable[[torch.Tensor], torch.Tensor], d: int = 2) -> LayerMaps:
    """The maps of such a network, in float64."""
    module = Surface(function)
    module.register_buffer("unit", torch.ones(1, dtype=torch.float64))
    return LayerMaps(module.eval(), ["layer"], (d,))


def sphere(radius: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Polar angle and azimuth to the sphere; sqrt det g = r^2 sin(theta)."""

    def function(points: torch.Tensor) -> torch.Tensor:
        theta, phi = points.unbind(1)
        return radius * torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], dim=1)

    return function


def gelu_network(seed: int = 0, width: int = 6) -> nn.Module:
    """A deep convolutional network with batch norm and GELU, its statistics drawn at random, in evaluation mode."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(2, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.GELU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.GELU(),
        nn.Conv2d(width, width, 3, padding=1, stride=2),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(width * 9, 8),
        nn.Tanh(),
    )
    for part in network:
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.normal_(part.weight, 1, 0.3)
            nn.init.normal_(part.bias)
    return network.eval()


IMAGE = (2, 6, 6)


def images(n: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Random inputs of `gelu_network`."""
    return torch.randn(n, *IMAGE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def plain_jacobian(function: Callable[[torch.Tensor], torch.Tensor], point: torch.Tensor) -> NDArray[np.float64]:
    """`(n_outputs, d)` of one point `(1, ...)` by torch's own loop."""
    jacobian = torch.autograd.functional.jacobian(lambda x: function(x).flatten(), point)
    return jacobian.reshape(len(jacobian), -1).double().numpy()


def volume_by_svd(jacobian: NDArray[np.float64], tolerance: float) -> tuple[float, int, NDArray[np.float64]]:
    """Log volume, rank and singular values, by numpy's decomposition of the Jacobian itself."""
    values = np.linalg.svd(jacobian, compute_uv=False)
    rank = int((values > tolerance * values[0]).sum())
    return float(np.log(values[:rank]).sum()), rank, values
