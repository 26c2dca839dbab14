"""Exact neighbour search against faiss-cpu's IndexFlatL2: same data, same threads, one run, results compared.

    python benchmarks/exact_search.py [--only ROW] [--activations FILE.npy ...] [--threads N] [--json FILE]

faiss is given an index on the same array (add and search for k + 1 are timed, taking the sample itself out is not);
ours is `exact_neighbors`, compiled before the clock starts. The sides take turns and the best of --repeats counts.
Beside the ratio stands the arithmetic limit: 2 N^2 d operations at the machine's measured float32 rate, and N^2 d at
its int8 rate, which is one product of every pair. Wherever the two graphs differ, direct differences in float64
decide who is right, and on some rows both are compared with all distances by direct difference. Exit code 1: ours is
wrong anywhere, or a distance is off by more than 1e-6. Real layers come from a run with `activations.keep=always`:
README.md has the command.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from common import (
    ActivationLike,
    Agreement,
    PeakMemory,
    agreement,
    best_times,
    direct_rows,
    gaussian,
    gemm_rates,
    has_fast_low_precision,
    judge,
    machine_line,
    verdict,
)
from numpy.typing import NDArray

from rra_cli.core.resources import parse_bytes
from rra_cli.neighbors import exact_neighbors

Array = NDArray[np.float32]
CHECKED_ROWS = 32


@dataclass(frozen=True)
class Row:
    """One line of the table. make: data of n samples with d features. target: the most our time may be of theirs."""

    name: str
    n: int
    d: int
    k: int
    target: float
    make: Callable[[int, int], Array]

    def tenth(self) -> Row:
        """The same with a tenth of the samples, features and neighbours."""
        return Row(self.name, self.n // 10, max(2, self.d // 10), max(2, self.k // 10), self.target, self.make)


def activation_like(n: int, d: int) -> Array:
    """See `ActivationLike`."""
    return ActivationLike(d).array(n)


def layer(path: Path) -> Callable[[int, int], Array]:
    """The first n rows and d columns of a file, in memory: faiss takes nothing else."""
    return lambda n, d: np.ascontiguousarray(_open(path)[:n, :d], dtype=np.float32)


def _open(path: Path) -> NDArray[Any]:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array.reshape(len(array), -1)


def table(layers: list[Path], k: int) -> list[Row]:
    """The rows: sizes as in the target table, then a row for every file of real activations."""
    wide = 0.4 if has_fast_low_precision() else 0.7
    rows = [
        Row("15000x16384", 15_000, 16_384, 150, wide, activation_like),
        Row("50000x1024", 50_000, 1_024, 100, 0.5, activation_like),
        Row("50000x1024-gaussian", 50_000, 1_024, 100, 0.5, gaussian),
        Row("10000x64", 10_000, 64, 100, 1.0, activation_like),
        Row("5000x4096", 5_000, 4_096, 2_500, 0.5, activation_like),
    ]
    for path in layers:
        n, d = _open(path).shape
        rows.append(Row(layer_name(path), n, d, k, wide, layer(path)))
    return rows


def layer_name(path: Path) -> str:
    """The file's name; in the store, where all have the same name, the first 12 digits of its key as in `rra plan`."""
    return path.parent.name[:12] if path.name == "activations.npy" else path.stem


@dataclass(frozen=True)
class Result:
    """What one row gave: seconds, bytes, and counts of neighbours.

    rate_float32, rate_int8: operations/s of the matrix product. checked: neighbours compared with all
    distances; wrong, missed_faiss: of these, ours and theirs that are none. different: on which the two disagree, over
    all samples; judged: of these, looked at; worse: of these, where faiss is right. worst_distance: relative error.
    """

    name: str
    n: int
    d: int
    k: int
    seconds: float
    seconds_faiss: float
    target: float
    rate_float32: float
    rate_int8: float
    peak_memory: int
    checked: int
    wrong: int
    worst_distance: float
    missed_faiss: int
    different: int
    judged: int
    worse: int

    @property
    def ratio(self) -> float:
        """Our time by theirs."""
        return self.seconds / self.seconds_faiss

    @property
    def limit_float32(self) -> float:
        """Seconds of the full square of products in float32, 2 N^2 d operations."""
        return 2.0 * self.n**2 * self.d / self.rate_float32

    @property
    def limit_int8(self) -> float:
        """Seconds of one int8 product of every pair, N^2 d operations."""
        return 1.0 * self.n**2 * self.d / self.rate_int8

    @property
    def right(self) -> bool:
        """Whether our neighbours are the true ones and their distances within 1e-6, wherever that was looked at."""
        return self.wrong == 0 and self.worse == 0 and self.worst_distance <= 1e-6

    def lines(self) -> str:
        """The row as text."""
        return (
            f"{self.name}: N = {self.n:,}, d = {self.d:,}, k = {self.k:,}\n"
            f"  ours {self.seconds:.3g} s, faiss {self.seconds_faiss:.3g} s, ratio {self.ratio:.3f}; "
            f"target {self.target:g}: {verdict(self.ratio, self.target)}\n"
            f"  measured / limit: ours {self.seconds / self.limit_int8:.2f} x N^2 d in int8 ({self.limit_int8:.3g} s) "
            f"and {self.seconds / self.limit_float32:.2f} x 2 N^2 d in float32 ({self.limit_float32:.3g} s); "
            f"faiss {self.seconds_faiss / self.limit_float32:.2f} x the latter\n"
            f"  memory: ours adds {self.peak_memory / 1e9:.2f} GB to the data\n"
            f"  of {self.checked:,} neighbours checked: ours {self.wrong} wrong, distances within "
            f"{self.worst_distance:.1g}; faiss {self.missed_faiss} wrong\n"
            f"  of all {self.n * self.k:,} neighbours {self.different:,} differ; of {self.judged:,} of them judged, "
            f"faiss is right on {self.worse}"
        )


def run(row: Row, repeats: int, threads: int, rates: dict[str, float], memory: int | None) -> Result:
    """Both sides on one row's data."""
    data = row.make(row.n, row.d)
    n, d = data.shape
    found: dict[str, Any] = {}
    index: list[Any] = []

    def ours() -> None:
        found["ours"] = exact_neighbors(data, row.k, device="cpu", memory=memory)

    def theirs() -> None:
        index[:] = [faiss.IndexFlatL2(d)]
        index[0].add(data)
        found["faiss"] = index[0].search(data, row.k + 1)

    small = min(n, 1000)
    exact_neighbors(data[:small], min(row.k, small - 1), device="cpu", memory=memory)
    times = best_times({"ours": ours, "faiss": theirs}, repeats)
    ids_faiss = without_self(found.pop("faiss")[1])
    index.clear()
    found.clear()
    gc.collect()
    with PeakMemory() as peak:
        ours()
    graph = found["ours"]
    checked = np.sort(np.random.default_rng(0).choice(n, min(n, CHECKED_ROWS), replace=False))
    direct = direct_rows(data, checked, threads)
    mine: Agreement = agreement(graph.indices[checked], graph.distances[checked], direct)
    other = agreement(ids_faiss[checked], None, direct)
    judgement = judge(data, graph.indices, ids_faiss)
    return Result(
        name=row.name,
        n=n,
        d=d,
        k=row.k,
        seconds=times["ours"],
        seconds_faiss=times["faiss"],
        target=row.target,
        rate_float32=rates["float32"],
        rate_int8=rates["int8"],
        peak_memory=peak.added,
        checked=mine.n_neighbors,
        wrong=mine.missed,
        worst_distance=mine.worst,
        missed_faiss=other.missed,
        different=judgement.different,
        judged=judgement.judged,
        worse=judgement.worse,
    )


def without_self(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """k of the k + 1 ids `(n, k + 1)`: without the sample itself or, where that is not listed, without the last."""
    own = ids == np.arange(len(ids))[:, None]
    own[~own.any(axis=1), -1] = True
    return ids[~own].reshape(len(ids), -1)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--activations", type=Path, nargs="+", default=[], help=".npy files of real layers")
    parser.add_argument("--k", type=int, default=150, help="neighbours in those (default 150)")
    parser.add_argument("--only", action="append", help="a row by its name (may be repeated)")
    parser.add_argument("--threads", type=int, help="of both sides (default: all that torch uses)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=parse_bytes, help='our workspace, such as "2GB" (default: a quarter)')
    parser.add_argument("--small", action="store_true", help="a tenth of every size: to try the script, not to quote")
    parser.add_argument("--json", type=Path, help="write the results there as well")
    options = parser.parse_args(arguments)
    rows = table(options.activations, options.k)
    names = [row.name for row in rows]
    unknown = sorted(set(options.only or ()) - set(names))
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(names)}")
    if options.threads:
        torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(torch.get_num_threads())
    size = (256, 512, 512) if options.small else (2048, 4096, 4096)
    rates = gemm_rates(*size)
    machine = f"{machine_line()}, faiss {faiss.__version__}"
    print(machine)
    print("GEMM: " + ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in rates.items()) + " Gop/s", flush=True)
    results = []
    for row in rows:
        if options.only is None or row.name in options.only:
            small = row.tenth() if options.small else row
            # Again for every row: what disturbs the machine for a moment lowers a rate, and nothing raises one.
            rates = {name: max(rates[name], rate) for name, rate in gemm_rates(*size).items()}
            results.append(run(small, options.repeats, torch.get_num_threads(), rates, options.memory))
            print(results[-1].lines(), flush=True)
    if options.json:
        derived = ("ratio", "limit_float32", "limit_int8")
        written = [{**asdict(result), **{name: getattr(result, name) for name in derived}} for result in results]
        options.json.write_text(json.dumps({"machine": machine, "rates": rates, "rows": written}, indent=1) + "\n")
    return 0 if all(result.right for result in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
