"""What the benchmark scripts share: the machine and its limits, fair timing, memory, data and the check of results."""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rra_cli.core.provenance import cpu_model, hardware, package_git_state

# Instructions that multiply 8-bit or bfloat16 numbers much faster than float32 (names of /proc/cpuinfo).
FAST_LOW_PRECISION = ("avx512_vnni", "avx512_bf16", "avx_vnni_int8", "amx_int8", "amx_bf16")


def machine_line() -> str:
    """Processor, cores, threads, memory and the commit, as a README quotes them."""
    machine, git = hardware(), package_git_state()
    commit = "no repository" if git is None else str(git["commit"])[:7] + (" + changes" if git["dirty"] else "")
    return (
        f"{cpu_model()}, {machine['usable_cores']} cores used by {torch.get_num_threads()} threads, "
        f"{machine['memory_bytes'] / 1e9:.0f} GB of memory, torch {torch.__version__}, commit {commit}"
    )


def has_fast_low_precision(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has one of `FAST_LOW_PRECISION`: the search can then beat its float32 rate."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    return any(flag in flags for flag in FAST_LOW_PRECISION)


def gemm_rates(rows: int = 2048, features: int = 4096, columns: int = 4096, repeats: int = 3) -> dict[str, float]:
    """Operations/s of the machine's matrix product by type, the best of the repeats; a multiply-add counts as two."""
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(rows, features, generator=generator)
    right = torch.randn(columns, features, generator=generator)
    small_left, small_right = (matrix.mul(30).clamp(-127, 127).to(torch.int8) for matrix in (left, right))
    wide_left, wide_right = left.double(), right.double()
    work: dict[str, Callable[[], Any]] = {
        "float32": lambda: left @ right.T,
        "float64": lambda: wide_left @ wide_right.T,
        "int8": lambda: torch._int_mm(small_left, small_right.T),
    }
    times = {name: best_times({name: product}, repeats + 1)[name] for name, product in work.items()}
    return {name: 2.0 * rows * features * columns / seconds for name, seconds in times.items()}


def best_times(sides: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Seconds of every side's fastest call. The sides take turns, and every other round runs in reverse order."""
    best, names = dict.fromkeys(sides, float("inf")), list(sides)
    for repeat in range(repeats):
        for name in names if repeat % 2 == 0 else names[::-1]:
            start = time.perf_counter()
            sides[name]()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


class PeakMemory:
    """The largest anonymous memory of this process within a `with` block, sampled by a thread; Linux only.

    peak, before: bytes of RssAnon + RssShmem + VmSwap of /proc/self/status: what the process allocated. Pages of
    mapped files (RssFile) are left out: they are the page cache, which the kernel takes back whenever it needs memory,
    and the high-water mark of Linux (VmHWM) cannot be told apart from them. A peak shorter than the interval is missed.
    """

    def __init__(self, interval: float = 0.005) -> None:
        self.interval = interval
        self.before = self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        # Freed memory that the C library keeps would be used again and not be seen.
        gc.collect()
        if hasattr(ctypes.CDLL(None), "malloc_trim"):
            ctypes.CDLL(None).malloc_trim(0)
        self.before = self.peak = anonymous_memory()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.peak = max(self.peak, anonymous_memory())

    @property
    def added(self) -> int:
        """Bytes at the peak over what there was before."""
        return self.peak - self.before

    def _sample(self) -> None:
        while not self._stop.wait(self.interval):
            self.peak = max(self.peak, anonymous_memory())


def anonymous_memory() -> int:
    """Bytes of RssAnon + RssShmem + VmSwap of this process."""
    return sum(status_bytes(field) for field in ("RssAnon", "RssShmem", "VmSwap"))


def status_bytes(field: str, status: Path = Path("/proc/self/status")) -> int:
    """One field of /proc/self/status (its kB are of 1,024 bytes)."""
    for line in status.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return 1024 * int(value.split()[0])
    raise KeyError(f"{status} has no {field}")


class ActivationLike:
    """Synthetic activations of a convolutional layer behind its ReLU, row block by row block, the same for any cut.

    x = max(0, z W + b + e): z of 64 independent normals, the j-th of variance j^(-1/2) / sum; W normal; a bias b of
    standard deviation 0.2 per feature; noise e of 0.1 per value. Made to look like a real layer to a search. At
    N = 15,000, d = 16,384, k = 150 and, in brackets, for stage1.block2 of a ResNet20 trained on CIFAR-10: half of the
    values are 0 (a third); the k-th neighbour lies at 0.84 (0.84) of the median distance, the first at 0.88 (0.90) of
    the k-th; 1.39 k (1.49 k) samples lie within 1.01 and 4.5 k (5.7 k) within 1.05 of the k-th distance; the intrinsic
    dimension by TwoNN is 50 (46).
    """

    BLOCK = 256

    def __init__(self, n_features: int, seed: int = 0, rank: int = 64, bias: float = 0.2, noise: float = 0.1) -> None:
        self.n_features, self.seed, self.rank, self.noise = n_features, seed, rank, noise
        random = np.random.default_rng([seed, 0])
        scale = np.arange(1, rank + 1) ** -0.25
        scale /= np.linalg.norm(scale)
        self.weights = random.standard_normal((rank, n_features), np.float32) * scale[:, None].astype(np.float32)
        self.bias = np.float32(bias) * random.standard_normal(n_features, np.float32)

    def blocks(self, n: int) -> Iterator[NDArray[np.float32]]:
        """The first n rows, `BLOCK` at a time; every block has its own random stream."""
        for number, start in enumerate(range(0, n, self.BLOCK)):
            random = np.random.default_rng([self.seed, 1, number])
            latent = random.standard_normal((self.BLOCK, self.rank), np.float32)
            rows = random.standard_normal((self.BLOCK, self.n_features), np.float32)
            rows *= np.float32(self.noise)
            rows += self.bias
            rows += latent @ self.weights
            yield np.maximum(rows, 0, out=rows)[: n - start]

    def array(self, n: int) -> NDArray[np.float32]:
        """The first n rows."""
        rows = np.empty((n, self.n_features), np.float32)
        at = 0
        for block in self.blocks(n):
            rows[at : at + len(block)] = block
            at += len(block)
        return rows


def gaussian(n: int, d: int, seed: int = 0) -> NDArray[np.float32]:
    """Independent normals: as many intrinsic dimensions as features, and nearly equal distances."""
    return np.random.default_rng([seed, 2]).standard_normal((n, d), np.float32)


def direct_rows(data: NDArray[Any], rows: NDArray[np.int64], threads: int = 1) -> NDArray[np.float64]:
    """Distances `(rows, n)` from some rows to all, by direct difference in float64; a row's own is infinite."""
    queries = data[rows].astype(np.float64)
    distances = np.empty((len(rows), len(data)))
    step = max(1, (1 << 19) // data.shape[1])

    def work(start: int) -> None:
        block = data[start : start + step].astype(np.float64)
        for row, query in enumerate(queries):
            difference = block - query
            np.einsum("ij,ij->i", difference, difference, out=distances[row, start : start + step])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(0, len(data), step)))
    np.sqrt(distances, out=distances)
    distances[np.arange(len(rows)), rows] = np.inf
    return distances


@dataclass(frozen=True)
class Agreement:
    """How a list of neighbours compares with the distances by direct difference, over all rows looked at.

    missed: neighbours that are listed although a nearer sample is not, by more than `tolerance` relative. tied: listed
    ones of which only the last bits of the reference decide. worst: largest relative error of a distance returned.
    """

    n_neighbors: int
    missed: int
    tied: int
    worst: float


def agreement(
    ids: NDArray[np.integer],
    distances: NDArray[np.floating] | None,
    direct: NDArray[np.float64],
    tolerance: float = 1e-12,
) -> Agreement:
    """ids: `(rows, k)`; distances: `(rows, k)` as returned, or None; direct: `(rows, n)` from `direct_rows`."""
    k = ids.shape[1]
    true = np.argsort(direct, axis=1, kind="stable")[:, :k]
    farthest = np.take_along_axis(direct, true[:, -1:], axis=1)
    listed = np.take_along_axis(direct, ids, axis=1)
    # A row that lists one sample twice leaves another out.
    repeats = sum(k - len(np.unique(row)) for row in ids)
    missed = int((listed > farthest * (1 + tolerance)).sum()) + repeats
    different = sum(len(np.setdiff1d(mine, theirs)) for mine, theirs in zip(ids, true, strict=True))
    worst = 0.0
    if distances is not None:
        gap = np.abs(distances - listed)
        worst = float((gap / np.where(listed > 0, listed, 1.0)).max())
    return Agreement(ids.size, missed, max(0, different - missed), worst)


@dataclass(frozen=True)
class Judgement:
    """Where two lists of neighbours differ, and what direct differences say. All counts are of neighbours.

    different: in one list and not in the other. judged: of these, in the rows looked at. worse: of the judged, those of
    the first list that lie farther than one that only the second has.
    """

    different: int
    judged: int
    worse: int


def judge(
    data: NDArray[Any],
    ids: NDArray[np.integer],
    other: NDArray[np.integer],
    tolerance: float = 1e-12,
    most_rows: int = 5000,
) -> Judgement:
    """ids, other: `(n, k)`, two graphs of the rows of data, over all samples; at most `most_rows` rows are judged."""
    different = judged = worse = rows = 0
    for row, (mine, theirs) in enumerate(zip(ids, other, strict=True)):
        only_mine, only_theirs = np.setdiff1d(mine, theirs), np.setdiff1d(theirs, mine)
        different += len(only_mine)
        if len(only_mine) == 0 or rows == most_rows:
            continue
        rows, judged = rows + 1, judged + len(only_mine)
        query = data[row].astype(np.float64)
        near, far = (
            np.linalg.norm(data[which].astype(np.float64) - query, axis=1) for which in (only_mine, only_theirs)
        )
        worse += int((near > far.min() * (1 + tolerance)).sum())
    return Judgement(different, judged, worse)


def verdict(ratio: float, target: float) -> str:
    """A target met or missed, and by how much."""
    return "met" if ratio <= target else f"missed by {100 * (ratio / target - 1):.0f} %"
