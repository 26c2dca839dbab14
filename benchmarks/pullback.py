"""Volume elements of a ResNet34-GELU's last stage: against the plain way, and against the limit of its convolutions.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/pullback.py [--device cuda] [--points N] [--repeats R] [--no-plain]
    python benchmarks/pullback.py --memory              # the largest memory against the number of points

One point is an image of 3 x 32 x 32 numbers, the layer the last stage, pooled to 512 numbers; forward passes are
float32 (no TF32). All sides run in this process on the same network and points and take turns.

plain: `torch.autograd.functional.jacobian` and `svdvals`. vmap: vmap of vjp, 64 rows at a time, Gram and Cholesky in
float64. limit: 512 backward passes to the input as one batch of ordinary passes makes them, the best of several batch
sizes and layouts; the forward pass, which they need as well, is not counted.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from common import PeakMemory, best_times, machine_line, verdict
from torch import nn
from torch.nn import functional

from rra_cli.core.reproducibility import ieee_float32
from rra_cli.models.resnet import ResNet20, ResNet34
from rra_cli.pullback.layer_map import LayerMaps
from rra_cli.pullback.log_volume import rank_tolerance
from rra_cli.pullback.volume import volume_elements

SHAPE = (3, 32, 32)
OUTPUTS = 512
TARGETS = {"cpu": 4.0, "cuda": 20.0}
LIMIT_TARGET = 0.6
SAME = 1e-5


def main() -> None:
    """Prints seconds a point of every side, the ratios, and how far the values differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--points", type=int, default=4, help="points of the run of several")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--no-plain", dest="plain", action="store_false", help="leave out the slowest side")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of time")
    args = parser.parse_args()
    device = torch.device(args.device)
    print(machine_line() if device.type == "cpu" else f"{torch.cuda.get_device_name(device)}; {machine_line()}")
    with ieee_float32():
        if args.memory:
            against_points(device)
        else:
            against_others(device, args.points, args.repeats, args.plain)


def against_others(device: torch.device, n_points: int, repeats: int, plain: bool) -> None:
    """The comparison that the targets are stated for."""
    network = trained_like(ResNet34(activation="gelu").build(SHAPE, 0).module).to(device)
    maps = LayerMaps(network, ["stage4"], SHAPE)
    assert maps.maps[0].n_outputs == OUTPUTS
    points = torch.randn(n_points, *SHAPE, generator=torch.Generator().manual_seed(1)).to(device)
    trunk = nn.Sequential(*(part for name, part in maps.module.named_children() if name != "gap"))
    volume_elements(maps, points[:1])  # the network is made fast once
    found: dict[str, Any] = {}

    def timed(name: str, way: Callable[[], Any]) -> Callable[[], None]:
        def call() -> None:
            found[name] = way()
            synchronize(device)

        return call

    sides: dict[str, Callable[[], None]] = {
        "vmap": timed("vmap", lambda: by_vmap(trunk, points[:1])),
        "one point": timed("one", lambda: volume_elements(maps, points[:1])[0]),
        "several points": timed("several", lambda: volume_elements(maps, points)[0]),
    }
    sides["limit"], where = best_passes(trunk, device)
    if plain:
        sides["plain"] = timed("plain", lambda: plain_way(trunk, points[:1]))
    seconds = best_times(sides, repeats)
    seconds["several points"] /= n_points
    limit = seconds["limit"]
    print(f"ResNet34-GELU, last stage, {OUTPUTS} x {points[0].numel()} derivatives a point; seconds a point")
    for name in sides:
        note = {"several points": f"{n_points} points", "limit": where}.get(name, "")
        print(f"  {name:16}{seconds[name]:9.3f}  {note}")
    best = min(seconds["one point"], seconds["several points"])
    for name in ("one point", "several points"):
        print(f"limit / {name} = {limit / seconds[name]:.2f} (target {LIMIT_TARGET})", end="; ")
        print(f"vmap / {name} = {seconds['vmap'] / seconds[name]:.2f}")
    ours = float(found["one"].log_volume[0])
    print(f"log volume {ours:.6f}, rank {found['one'].rank[0]}")
    if plain:
        for name in ("one point", "several points"):
            ratio, target = seconds["plain"] / seconds[name], TARGETS[device.type]
            print(f"plain / {name} = {ratio:.1f} (target {target:g}: {verdict(target / ratio, 1)})")
        value, rank = found["plain"]
        error = abs(ours / value - 1)
        print(f"plain: log volume {value:.6f}, rank {rank}; differs by {error:.1e} (target {SAME:.0e}:", end=" ")
        print(verdict(error, SAME) + ")")
    print(f"vmap: log volume {found['vmap']:.6f} over all {OUTPUTS} values; best of ours {best:.3f} s")


def plain_way(network: nn.Module, point: torch.Tensor) -> tuple[float, int]:
    """Log volume and rank of one point `(1, ...)` by torch's own Jacobian and its singular values, in float32."""
    jacobian = torch.autograd.functional.jacobian(lambda x: pooled(network(x))[0], point)
    values = torch.linalg.svdvals(jacobian.reshape(len(jacobian), -1)).double().cpu().numpy()
    rank = int((values > rank_tolerance(len(jacobian), point.numel(), point.dtype) * values[0]).sum())
    return float(np.log(values[:rank]).sum()), rank


def by_vmap(network: nn.Module, point: torch.Tensor, rows: int = 64) -> float:
    """Half the log-determinant of J J^T of one point `(1, ...)`, in float64; NaN where Cholesky fails."""
    features, pull, *_ = torch.func.vjp(lambda x: pooled(network(x))[0], point)
    identity = torch.eye(len(features), device=point.device)
    blocks = [torch.func.vmap(pull)(some)[0].reshape(len(some), -1) for some in identity.split(rows)]
    jacobian = torch.cat(blocks).double()
    factor, failed = torch.linalg.cholesky_ex(jacobian @ jacobian.T)
    return float("nan") if failed else float(factor.diagonal().log().sum())


def best_passes(network: nn.Module, device: torch.device) -> tuple[Callable[..., None], str]:
    """512 backward passes to the input in the best of some batches and layouts, and which that is."""
    best: tuple[float, Callable[..., None], str] | None = None
    for batch in (16, 32, 64, 128):
        for layout in (torch.contiguous_format, torch.channels_last):
            way = passes(copy.deepcopy(network).to(memory_format=layout), device, batch)  # type: ignore[call-overload]
            way(batch)
            seconds = best_times({"": partial(way, 128)}, 2)[""]
            if best is None or seconds < best[0]:
                best = seconds, way, f"batches of {batch}, {str(layout).removeprefix('torch.')}"
    assert best is not None
    return best[1:]


def passes(network: nn.Module, device: torch.device, batch: int) -> Callable[..., None]:
    """What makes some (512) backward passes to the input, so many at a time, of one forward pass made now."""
    inputs = torch.randn(batch, *SHAPE, device=device)
    if next(network.parameters()).is_contiguous(memory_format=torch.channels_last):
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    inputs.requires_grad_()
    features = pooled(network(inputs))
    cotangent = torch.randn(batch, OUTPUTS, device=device)

    def make(number: int = OUTPUTS) -> None:
        for _ in range(0, number, batch):
            torch.autograd.grad(features, inputs, cotangent, retain_graph=True)
        synchronize(device)

    return make


def against_points(device: torch.device, budget: int = 512 << 20) -> None:
    """The largest memory of a call for more and more points (a ResNet20-GELU, whose points take less time)."""
    network = trained_like(ResNet20(activation="gelu").build(SHAPE, 0).module).to(device)
    maps = LayerMaps(network, ["stage3"], SHAPE)
    volume_elements(maps, torch.zeros(2, *SHAPE))
    print(f"ResNet20-GELU, {OUTPUTS} x {maps.n_inputs} derivatives a point, memory={budget >> 20} MiB")
    for n in (1, 16, 64, 256):
        points = torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(1))
        start = time.perf_counter()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
            volume_elements(maps, points, memory=budget)
            added = torch.cuda.max_memory_allocated(device) - before
        else:
            with PeakMemory() as peak:
                volume_elements(maps, points, memory=budget)
            added = peak.added
        seconds = (time.perf_counter() - start) / n
        print(f"  {n:4} points: {added / 2**20:6.0f} MiB at the peak, {seconds:.3f} s a point", flush=True)


def trained_like(network: nn.Module) -> nn.Module:
    """The network, seeded, in evaluation mode, with the batch statistics of random images."""
    torch.manual_seed(0)
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        network.train()(torch.randn(32, *SHAPE))
    return network.eval().requires_grad_(False)


def pooled(maps: torch.Tensor) -> torch.Tensor:
    """The last stage `(n, channels, 4, 4)` as `(n, channels)`."""
    return functional.avg_pool2d(maps, 4).flatten(1)


def synchronize(device: torch.device) -> None:
    """Waits for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
