"""Memory, progress and interruption of the exact search: a budget that holds, and work that is not done twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from brute_force64 import assert_neighbors
from first_pass import first_pass
from search_data import Array, copies, gaussian

from rra_cli.neighbors import NeighborGraph, exact_neighbors, resume

# What a search may take beyond its budget and its output: pools of threads and of the allocator, buffers of the
# matrix products. It does not grow with the data.
CONSTANT = 48 << 20

# Everything is run once on few rows first (imports, compilation, threads). From then on the operating system refuses
# private memory beyond the allowance: pages of the read-only map do not count, those of the process do.
SEARCH = """
import json, resource, sys
import numpy as np
import torch
from rra_cli.neighbors import exact_neighbors

path, k, memory, allowance = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(1)
x = np.load(path, mmap_mode="r")
exact_neighbors(x, k, memory=memory)  # whatever is compiled is compiled before the limit
exact_neighbors(x[:40], k, reference=x[:120], memory=memory)
with open("/proc/self/status") as status:
    taken = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (taken + allowance, resource.RLIM_INFINITY))
try:
    refused = len(np.array(x)) < 0
except MemoryError:
    refused = True
graph = exact_neighbors(x, k, memory=memory)
np.savez(path + ".graph.npz", indices=graph.indices, distances=graph.distances)
print(json.dumps({"copy_refused": refused}))
"""


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits on private memory are Linux's")
@pytest.mark.parametrize(
    ("n", "d", "dtype", "k"),
    [(720, 16_384, "f8", 20), (5000, 512, "f2", 40)],
    ids=["wide", "many rows"],
)
def test_the_budget_holds(tmp_path: Path, n: int, d: int, dtype: str, k: int) -> None:
    """A search of a memory map with a budget of 8 MB, under a hard limit of budget + twice the output + a constant.
    Control: the limit refuses a copy of the wide array, and all pairs of the other would not fit under it."""
    memory, output = 8 << 20, n * k * 16
    allowance = memory + 2 * output + CONSTANT
    path = tmp_path / "x.npy"
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(n, d))
    for start in range(0, n, 500):
        stored[start : start + 500] = gaussian(500, d, start)[: n - start]
    stored.flush()
    copy_refused = stored.nbytes > 1.5 * allowance
    assert copy_refused or n * n * 4 > 1.5 * allowance
    command = [sys.executable, "-W", "error", "-c", SEARCH, str(path), str(k), str(memory), str(allowance)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["copy_refused"] == copy_refused
    found = np.load(f"{path}.graph.npz")
    x = np.load(path, mmap_mode="r")
    rows = np.random.default_rng(0).choice(n, 2, replace=False)
    assert_neighbors(found["indices"], found["distances"], x, k, rows=rows, ulps=64)


# Resume


class Counter:
    """Counts the calls of progress and interrupts once `stop_at` of the work is done."""

    def __init__(self, stop_at: float | None = None) -> None:
        self.seen: list[tuple[int, int]] = []
        self.stop_at = stop_at

    def __call__(self, done: int, total: int, note: str = "") -> None:
        self.seen.append((done, total))
        if self.stop_at is not None and done >= self.stop_at * total:
            raise KeyboardInterrupt


def assert_same(graph: NeighborGraph, other: NeighborGraph) -> None:
    """Equal to the last bit."""
    np.testing.assert_array_equal(graph.indices, other.indices)
    np.testing.assert_array_equal(graph.distances, other.distances)


DATA = np.concatenate([gaussian(500, 40), copies(200, 40)]).astype(np.float32)
MEMORY = 200_000


@pytest.fixture
def keeps_short_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are kept of any search, not only of those of more than a minute."""
    monkeypatch.setattr(resume, "EVERY", 0)
    monkeypatch.setattr(resume, "SHARE", np.inf)


def interrupted(x: Array, k: int, work: Path, stop_at: float = 0.5, **options: object) -> None:
    with pytest.raises(KeyboardInterrupt):
        exact_neighbors(x, k, memory=MEMORY, work=work, progress=Counter(stop_at), **options)


def test_progress_rises_to_the_end() -> None:
    for options in ({}, {"reference": DATA[:300].copy()}):
        counter = Counter()
        exact_neighbors(DATA, 12, memory=MEMORY, progress=counter, **options)
        done, totals = zip(*counter.seen, strict=True)
        assert len(done) > 3
        assert list(done) == sorted(done)
        assert len(set(totals)) == 1
        assert done[-1] == totals[-1]


@pytest.mark.usefixtures("keeps_short_searches")
@pytest.mark.parametrize("reference", [None, DATA[100:600].copy()], ids=["self", "reference"])
@pytest.mark.parametrize("stop_at", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("first", ["direct", "int8", "float64"])
def test_an_interrupted_search_goes_on(tmp_path: Path, reference: Array | None, stop_at: float, first: str) -> None:
    """The same graph to the last bit, also where the machine is busier now and begins with another precision; what was
    kept before is not written again."""
    expected = exact_neighbors(DATA, 15, reference=reference)
    with first_pass(first):
        interrupted(DATA, 15, tmp_path, stop_at, reference=reference)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert kept or stop_at < 0.5
    for _ in range(2):
        graph = exact_neighbors(DATA, 15, reference=reference, memory=MEMORY, work=tmp_path)
        assert_same(graph, expected)
    assert {path: path.stat().st_mtime_ns for path in kept if path.exists()}.items() <= kept.items()


@pytest.mark.long
@pytest.mark.usefixtures("keeps_short_searches")
def test_kept_work_saves_time(tmp_path: Path) -> None:
    """Processor time: from 80 % on less than 70 % of the whole, and a finished search again less than half."""
    x, k, memory = gaussian(2500, 600).astype(np.float32), 40, 4_000_000
    seconds: list[float] = []

    def timed(work: Path) -> NeighborGraph:
        start = time.process_time()
        graph = exact_neighbors(x, k, memory=memory, work=work)
        seconds.append(time.process_time() - start)
        return graph

    exact_neighbors(x, k, memory=memory)
    expected = timed(tmp_path / "full")
    with pytest.raises(KeyboardInterrupt):
        exact_neighbors(x, k, memory=memory, work=tmp_path / "work", progress=Counter(0.8))
    assert_same(timed(tmp_path / "work"), expected)
    assert_same(timed(tmp_path / "work"), expected)
    full, rest, nothing = seconds
    assert rest < 0.7 * full, f"{rest:.2f} s after an interruption at 80 %, {full:.2f} s from the start"
    assert nothing < 0.5 * full, f"{nothing:.2f} s of a finished search, {full:.2f} s from the start"


@pytest.mark.usefixtures("keeps_short_searches")
def test_interrupted_again_and_again(tmp_path: Path) -> None:
    """Five interruptions, each further on than the one before; the graph is the same in the end."""
    reached = []
    for stop_at in (0.1, 0.3, 0.5, 0.7, 0.9):
        counter = Counter(stop_at)
        with pytest.raises(KeyboardInterrupt):
            exact_neighbors(DATA, 15, memory=MEMORY, work=tmp_path, progress=counter)
        reached.append(counter.seen[-1][0])
    assert reached == sorted(set(reached))
    assert_same(exact_neighbors(DATA, 15, memory=MEMORY, work=tmp_path), exact_neighbors(DATA, 15))


def _one_bit(x: Array) -> Array:
    y = x.copy()
    y[351, 17] = np.nextafter(y[351, 17], np.float32(np.inf))
    return y


@pytest.mark.usefixtures("keeps_short_searches")
@pytest.mark.parametrize("change", ["one bit", "two rows swapped", "k", "reference", "the reference's last row"])
def test_work_of_another_search_is_not_taken(tmp_path: Path, change: str) -> None:
    """One bit in one value, the order of two rows, k or the reference: each makes another search."""
    x, k = DATA, 15
    reference: Array | None = None
    if change == "the reference's last row":
        reference = DATA[:400].copy()
    exact_neighbors(x, k, reference=reference, memory=MEMORY, work=tmp_path)
    if change == "one bit":
        x = _one_bit(x)
    elif change == "two rows swapped":
        x = x.copy()
        x[[3, 333]] = x[[333, 3]]
    elif change == "k":
        k = 14
    elif change == "reference":
        reference = DATA.copy()
    else:
        reference = np.concatenate([reference[:-1], DATA[450:451]])
    graph = exact_neighbors(x, k, reference=reference, memory=MEMORY, work=tmp_path)
    assert_neighbors(graph.indices, graph.distances, x, k, reference, rows=np.r_[0:12, 330:355])
    assert_same(graph, exact_neighbors(x, k, reference=reference))


@pytest.mark.usefixtures("keeps_short_searches")
@pytest.mark.parametrize("length", [0, 100])
def test_a_file_cut_short_is_searched_again(tmp_path: Path, length: int) -> None:
    """What a full disk or a power cut leaves: a file without its end."""
    interrupted(DATA, 15, tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        with path.open("r+b") as file:
            file.truncate(length)
    assert_same(exact_neighbors(DATA, 15, memory=MEMORY, work=tmp_path), exact_neighbors(DATA, 15))


def test_a_short_search_keeps_nothing(tmp_path: Path) -> None:
    exact_neighbors(DATA, 15, memory=MEMORY, work=tmp_path / "work")
    assert not (tmp_path / "work").exists()
