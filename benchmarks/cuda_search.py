"""TwoNN's neighbours on a GPU, N = 20,000 and D = 1,024 and 50: ours against plain torch, faiss-gpu and torchid.

    python benchmarks/cuda_search.py [--n 20000] [--features 1024 50] [--repeats 10] [--json FILE]

All sides start from the same float32 rows on the device and end with the distances to the two nearest on the host; the
sides take turns and the best of --repeats counts. torch: float32 tiles from norms and products (IEEE, TF32 off), then
`topk`. faiss-gpu and torchid take part where they can be imported; torchid's time is that of its whole estimate, and
ours beside it as well. "with upload" starts from rows on the host. The limit is one float64 product of every pair,
half of N^2 D multiply-adds, at the rate measured here. Our result is compared with direct differences in float64 on
the CPU, and with itself in every format that the device has, to the last bit. Exit code 1: ours is wrong anywhere.
Without a CUDA device it says so and ends; `--device cpu --n 2000` tries the script, its times are not to be quoted.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import agreement, best_times, direct_rows, gaussian, machine_line, verdict
from numpy.typing import NDArray

from rra_cli.metrics.intrinsic_dimension import twonn
from rra_cli.neighbors import NeighborGraph
from rra_cli.neighbors.device.precision import ieee_products, measured_rates, usable
from rra_cli.neighbors.device.search import device_search, resident_rows, search_resident
from rra_cli.neighbors.rows import Rows

K = 2
TARGET = 1.0
PUBLISHED = {(20_000, 50): 12.9e-3, (20_000, 1024): 28.4e-3}  # torchid's own figures on an H100, seconds
CHECKED_ROWS = 64
MEMORY = 8 * 10**9


def torch_tiles(x: torch.Tensor, k: int, rows: int = 4096) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What one writes by hand: float32 expansion into norms, self taken out, `topk`."""
    norms = (x * x).sum(dim=1)
    ids, distances = [], []
    for start in range(0, len(x), rows):
        block = x[start : start + rows]
        squares = torch.addmm(norms, block, x.T, alpha=-2).add_(norms[start : start + rows, None])
        at = torch.arange(len(block), device=x.device)
        squares[at, start + at] = float("inf")
        values, columns = torch.topk(squares, k, dim=1, largest=False)
        ids.append(columns)
        distances.append(values.clamp_(min=0).sqrt_())
    return torch.cat(ids).cpu().numpy(), torch.cat(distances).cpu().numpy()


def optional(name: str) -> Any:
    """The module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def faiss_gpu(x: NDArray[np.float32], device: torch.device) -> Callable[[], Any] | None:
    """faiss' flat index on the GPU, filled beforehand; None without it. Queries and results pass through the host."""
    faiss = optional("faiss")
    if faiss is None or not hasattr(faiss, "StandardGpuResources") or device.type != "cuda":
        return None
    index = faiss.GpuIndexFlatL2(faiss.StandardGpuResources(), x.shape[1])
    index.add(x)
    return lambda: index.search(x, K + 1)


def estimate(found: tuple[NDArray[np.int64], NDArray[np.float64]]) -> float:
    """TwoNN as torchid fits it: linear, the largest tenth discarded."""
    graph = NeighborGraph(found[0], found[1], 1.0, len(found[0]))
    return float(twonn(graph, fit="linear").value)


def run(n: int, d: int, device: torch.device, repeats: int) -> dict[str, Any]:
    """Times every side, checks ours, and says both."""
    x = gaussian(n, d)
    rows = Rows(x, 1.0, x.mean(axis=0, dtype=np.float64))
    there = resident_rows(rows, device, MEMORY)
    plain, own = torch.from_numpy(x).to(device), np.arange(n)

    def ours(**options: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return search_resident(there, there, K, own=own, memory=MEMORY, **options)

    def tiles() -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        with ieee_products(), torch.inference_mode():
            return torch_tiles(plain, K)

    sides: dict[str, Callable[[], Any]] = {
        "ours": ours,
        "ours with upload": lambda: device_search(rows, rows, K, own=own, device=device, memory=MEMORY),
        "torch float32 tiles": tiles,
    }
    flat = faiss_gpu(x, device)
    if flat is not None:
        sides["faiss-gpu"] = flat
    estimators = optional("torchid.estimators")
    if estimators is not None:
        sides["torchid TwoNN"] = lambda: float(estimators.TwoNN().fit(plain).dimension_)
        sides["ours TwoNN"] = lambda: estimate(ours())
    found, by_tiles = ours(), tiles()  # what compiles, loads or measures rates does so before the clock starts
    seconds = best_times(sides, repeats + 1)

    limit = n * n / 2 * d * measured_rates(device).product["float64"]
    checked = np.linspace(0, n - 1, CHECKED_ROWS).astype(np.int64)
    direct = direct_rows(x, checked)
    mine = agreement(found[0][checked], found[1][checked], direct)
    theirs = agreement(by_tiles[0][checked], by_tiles[1][checked], direct)
    formats = [precision.name for precision in usable(device)]
    same = all(
        all(np.array_equal(a, b) for a, b in zip(found, ours(precision=precision), strict=True))
        for precision in usable(device)
    )
    wrong = not same or mine.missed > 0 or mine.worst > 1e-12

    print(f"N = {n:,}, D = {d:,}, k = {K}")
    for name, value in seconds.items():
        print(f"  {name:<20} {1e3 * value:9.2f} ms")
    print(f"  one product a pair   {1e3 * limit:9.2f} ms; ours takes {seconds['ours'] / limit:.2f} times that")
    if (n, d) in PUBLISHED:
        print(f"  torchid, published   {1e3 * PUBLISHED[n, d]:9.2f} ms on an H100, for orientation")
    pairs = [(name, "ours TwoNN" if name == "torchid TwoNN" else "ours") for name in seconds if "ours" not in name]
    ratios = {name: seconds[mine_] / seconds[name] for name, mine_ in pairs}
    for name, ratio in ratios.items():
        print(f"  ours / {name}: {ratio:.2f} (target {TARGET:g}: {verdict(ratio, TARGET)})")
    print(
        f"  {CHECKED_ROWS} rows against direct differences: ours misses {mine.missed} neighbours, distances within "
        f"{mine.worst:.0e}; torch tiles miss {theirs.missed}, within {theirs.worst:.0e}"
    )
    print(f"  same bits in {', '.join(formats)}: {same}; TwoNN {estimate(found):.2f}", flush=True)
    return {"n": n, "d": d, "seconds": seconds, "limit": limit, "ratios": ratios, "wrong": wrong}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--features", type=int, nargs="+", default=[1024, 50])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path, help="write the results there as well")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(f"torch {torch.__version__} finds no CUDA device on this machine: nothing was measured")
        return 0
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, to try the script only"
    machine = f"{name}; {machine_line()}"
    print(machine)
    rates = measured_rates(device)
    print("products: " + ", ".join(f"{key} {2e-12 / rate:.3g} TFLOP/s" for key, rate in rates.product.items()))
    print(f"reading: {1e-9 / rates.byte:.0f} GB/s", flush=True)
    results = [run(options.n, d, device, options.repeats) for d in options.features]
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": results}, indent=1) + "\n")
    return 1 if any(result["wrong"] for result in results) else 0


if __name__ == "__main__":
    raise SystemExit(main())
