"""The exact graph of a layer larger than memory: 50,000 x 131,072 float32 (26 GB on disk) in less than 4 GB.

    python benchmarks/large_layer.py --folder DIR [--memory 2.5GB] [--threads N] [--keep]

Writes the layer as a .npy file (`ActivationLike`, seeded), searches its memory map, samples the anonymous memory of
this process meanwhile, checks some rows against direct differences in float64, and removes the file. The memory that
counts is what the process itself allocated (RssAnon + RssShmem + VmSwap of /proc/self/status, sampled every 5 ms). Not
VmHWM: that high-water mark holds the mapped pages of the file as well, which are page cache and which the kernel takes
back at any time; it is printed for orientation. Exit code 1: more than --limit was allocated, or a row is wrong.

--hard-limit makes the kernel refuse what goes beyond (RLIMIT_DATA: private writable memory, files mapped for reading
excluded): the search then ends with a MemoryError instead of a figure.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import ActivationLike, Agreement, PeakMemory, agreement, direct_rows, gemm_rates, machine_line, status_bytes
from numpy.typing import NDArray

from rra_cli.activations import npy
from rra_cli.core import files
from rra_cli.core.progress import clock
from rra_cli.core.resources import check_disk, format_bytes, parse_bytes
from rra_cli.neighbors import exact_neighbors


def write_layer(path: Path, n: int, d: int) -> float:
    """Writes the first n rows of `ActivationLike` with d features, unless they are there; returns the seconds."""
    if path.exists():
        print(f"{path} is there already")
        return 0.0
    check_disk(path.parent, 4 * n * d, "the layer")
    start, at = time.perf_counter(), 0
    unfinished = path.with_suffix(".part")
    try:
        npy.create(unfinished, (n, d), np.float32)
        for block in ActivationLike(d).blocks(n):
            npy.write_rows(unfinished, at, block)
            at += len(block)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return time.perf_counter() - start


def compile_kernels(d: int) -> None:
    """A search of a few rows, so that what is compiled and loaded once a process counts neither as time nor memory."""
    exact_neighbors(ActivationLike(min(d, 4096)).array(500), 10, device="cpu")


def refuse_beyond(added: int) -> None:
    """From now on the kernel grants this process `added` more bytes of private writable memory and no more."""
    most = status_bytes("VmData") + added
    resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))


class Lines:
    """Progress as a line a minute."""

    def __init__(self, interval: float = 60.0) -> None:
        self.interval = interval
        self.start = self.said = time.monotonic()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if now - self.said >= self.interval and total:
            self.said = now
            print(f"  {clock(now - self.start)}: {100 * done / total:.0f} % {note}".rstrip(), flush=True)


def check(layer: NDArray[Any], graph: Any, n_rows: int, threads: int) -> Agreement:
    """Some rows against the distances to all others by direct difference."""
    rows = np.sort(np.random.default_rng(0).choice(len(layer), min(n_rows, len(layer)), replace=False))
    return agreement(graph.indices[rows], graph.distances[rows], direct_rows(layer, rows, threads))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--folder", type=Path, required=True, help="for the file, and the blocks of an interrupted search"
    )
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--d", type=int, default=131_072)
    parser.add_argument("--k", type=int, default=150)
    parser.add_argument("--memory", type=parse_bytes, default="2.5GB", help="workspace of the search (default 2.5GB)")
    parser.add_argument("--limit", type=parse_bytes, default="4GB", help="the most that may be allocated (default 4GB)")
    parser.add_argument("--hard-limit", type=parse_bytes, help="beyond what is used before the search; see above")
    parser.add_argument("--threads", type=int, help="default: all that torch uses")
    parser.add_argument("--rows", type=int, default=8, help="rows that are checked (default 8)")
    parser.add_argument(
        "--keep", action="store_true", help="leave the file there; found again, it is not written again"
    )
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    threads = torch.get_num_threads()
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / f"layer-{options.n}x{options.d}.npy"
    try:
        return measure(path, options, threads)
    finally:
        if not options.keep:
            path.unlink(missing_ok=True)


def measure(path: Path, options: argparse.Namespace, threads: int) -> int:
    """The whole of it; the exit code."""
    n, d, k = options.n, options.d, options.k
    print(machine_line())
    seconds = write_layer(path, n, d)
    size = path.stat().st_size
    print(f"layer {n:,} x {d:,} float32, {format_bytes(size)} on disk, written in {clock(seconds)}", flush=True)
    product = (256, 512, 512) if n * d < 1e9 else (2048, 4096, 4096)
    rates = gemm_rates(*product)
    compile_kernels(d)
    layer = np.load(path, mmap_mode="r")
    work = options.folder / "search"
    if work.exists() and any(work.iterdir()):
        print(f"goes on with what an interrupted search left in {work}: the time is that of the rest")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    if options.hard_limit:
        refuse_beyond(options.hard_limit)
    start = time.perf_counter()
    with PeakMemory() as peak:
        graph = exact_neighbors(layer, k, device="cpu", memory=options.memory, progress=Lines(), work=work)
    seconds = time.perf_counter() - start
    files.remove(work)
    resource.setrlimit(resource.RLIMIT_DATA, before)
    # Once more: what disturbs the machine for a moment lowers a rate, and nothing raises one.
    rates = {name: max(rates[name], rate) for name, rate in gemm_rates(*product).items()}
    limits = {
        "2 N^2 d in float32": 2.0 * n * n * d / rates["float32"],
        "N^2 d in int8": 1.0 * n * n * d / rates["int8"],
    }
    of_limits = ", ".join(f"{seconds / limit:.2f} x {what} ({clock(limit)})" for what, limit in limits.items())
    print(f"k = {k}, memory = {format_bytes(options.memory)}: {clock(seconds)}; measured / limit: {of_limits}")
    print(
        f"allocated at most {format_bytes(peak.peak)} ({format_bytes(peak.added)} more than before the search), "
        f"limit {format_bytes(options.limit)}; with pages of files {format_bytes(status_bytes('VmHWM'))}",
        flush=True,
    )
    found = check(layer, graph, options.rows, threads)
    print(
        f"of {found.n_neighbors:,} neighbours checked {found.missed} are wrong, "
        f"distances within {found.worst:.1g} relative"
    )
    return 1 if found.missed or found.worst > 1e-6 or peak.peak > options.limit else 0


if __name__ == "__main__":
    raise SystemExit(main())
