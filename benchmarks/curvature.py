"""Scalar curvature of a 60 x 60 plane: five directional derivatives against Christoffel symbols and the forward pass.

    OMP_NUM_THREADS=2 taskset -c 0,1 python benchmarks/curvature.py [--side 60] [--resnet POINTS]

The network of the sinusoid data, 2 -> 250 sigmoid -> 2, float64, curvature of its hidden layer; target: 5 s on two
cores. Beside it the Ricci tensor of the metric by automatic differentiation, as in the code of Zavatone-Veth et al. but
with the right sign, for all points at once; and 12 forward passes, which a JVP of a JVP along three pairs of directions
comes to. --resnet: also a plane of so many points through images, for a ResNet20 with GELU in float32.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch
from common import best_times, machine_line, verdict
from torch import nn
from torch.func import jacfwd, jacrev, vmap

from rra_cli.models.resnet import ResNet20
from rra_cli.pullback.curvature import Curvatures, scalar_curvature

TARGET = 5.0
FORWARD_PASSES = 12


def sinusoid_network() -> nn.Sequential:
    """The hidden layer, with weights as large as trained ones."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 250), nn.Sigmoid()).double().requires_grad_(False)
    net[0].weight.data *= 5
    return net.eval()


def plane(side: int) -> torch.Tensor:
    """`(side^2, 2)` points of [-1, 1]^2."""
    axis = torch.linspace(-1, 1, side, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)


def by_christoffel(net: nn.Module, points: torch.Tensor) -> torch.Tensor:
    """R at every point from the Ricci tensor of g = J^T J."""

    def metric(x: torch.Tensor) -> torch.Tensor:
        jacobian = jacfwd(net)(x)
        return jacobian.mT @ jacobian

    def symbols(x: torch.Tensor) -> torch.Tensor:
        slope = jacfwd(metric)(x)
        first_kind = (slope.permute(0, 2, 1) + slope - slope.permute(2, 0, 1)) / 2
        return torch.einsum("in,njk->ijk", torch.linalg.inv(metric(x)), first_kind)

    def scalar(x: torch.Tensor) -> torch.Tensor:
        gamma, slope = symbols(x), jacrev(symbols)(x)
        ricci = torch.einsum("abna->bn", slope) - torch.einsum("aanb->bn", slope)
        ricci = ricci + torch.einsum("aar,rbn->bn", gamma, gamma) - torch.einsum("abr,ran->bn", gamma, gamma)
        return torch.einsum("bn,bn->", torch.linalg.inv(metric(x)), ricci)

    return vmap(scalar, chunk_size=600)(points)


def curvatures(net: nn.Module, *arguments: torch.Tensor) -> Curvatures:
    """Ours, of one layer."""
    found = scalar_curvature(net, *arguments)
    assert isinstance(found, Curvatures)
    return found


def sinusoid(side: int, repeats: int) -> bool:
    """Prints the row of the target; whether it is met and the values agree."""
    net, points = sinusoid_network(), plane(side)
    first = time.perf_counter()
    ours = curvatures(net, points)
    first = time.perf_counter() - first

    def forward() -> None:
        for _ in range(FORWARD_PASSES):
            net(points)

    with torch.no_grad():
        theirs = by_christoffel(net, points).numpy()
        times = best_times(
            {
                "ours": lambda: curvatures(net, points),
                "christoffel": lambda: by_christoffel(net, points),
                "forward": forward,
            },
            repeats,
        )
    error = float((np.abs(ours.value - theirs) / np.abs(theirs).max()).max())
    print(f"sinusoid network, {side} x {side} points: {times['ours']:.2f} s")
    print(f"  first call of a process {first:.2f} s; target {TARGET:g} s: {verdict(first, TARGET)}")
    print(
        f"  Christoffel symbols: {times['christoffel']:.2f} s, ratio {times['ours'] / times['christoffel']:.2f}; "
        f"they differ by {error:.1e} of the largest value"
    )
    print(f"  {FORWARD_PASSES} forward passes: {times['forward']:.3f} s, ratio {times['ours'] / times['forward']:.1f}")
    return first <= TARGET and error < 1e-8


def resnet(n: int, repeats: int) -> None:
    """Prints the time a point of a ResNet20 takes."""
    torch.manual_seed(0)
    net = ResNet20(activation="gelu").build((3, 32, 32), 10).module.eval().requires_grad_(False)
    points, u, v = torch.randn(n, 3, 32, 32), *torch.randn(2, 3, 32, 32)

    def forward() -> None:
        for _ in range(FORWARD_PASSES):
            net(points)

    with torch.no_grad():
        times = best_times({"ours": lambda: curvatures(net, points, u, v), "forward": forward}, repeats)
    print(
        f"ResNet20-GELU, {n} points: {times['ours'] / n:.3f} s a point; {FORWARD_PASSES} forward passes: "
        f"{times['forward'] / n:.3f} s, ratio {times['ours'] / times['forward']:.2f}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Exit 1 where the target is missed or the two ways differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--resnet", type=int, default=0, metavar="POINTS")
    given = parser.parse_args(arguments)
    print(machine_line())
    good = sinusoid(given.side, given.repeats)
    if given.resnet:
        resnet(given.resnet, given.repeats)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
