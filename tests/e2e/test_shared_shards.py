"""Several processes with one command and one store: each shard is built once, and a killed one costs only its shard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sharing import SHARDS, N, run, write_layers

from rra_cli.core.store import Store
from rra_cli.stages.graphs.shards import rows_of_shard

pytestmark = pytest.mark.long

SHARING = Path(__file__).with_name("sharing.py")
RANGES = [rows_of_shard(N, SHARDS, shard) for shard in range(SHARDS)]
Search = tuple[str, str, int, int]


def start(root: Path, name: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SHARING), str(root), name, *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> int:
    said, _ = process.communicate(timeout=120)
    if process.returncode not in (0, -signal.SIGKILL):
        pytest.fail(said[-3000:])
    return process.returncode


def searches(root: Path) -> list[Search]:
    """What was searched, in order: begin or end, by whom, which rows."""
    path = root / "searches"
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [(what, name, int(first), int(last)) for what, name, first, last in lines]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.02)


def together(root: Path, *processes: tuple[str, ...]) -> list[subprocess.Popen[str]]:
    """Starts them, and lets them begin at the same moment."""
    started = [start(root, *arguments) for arguments in processes]
    until(lambda: all((root / f"{name}-ready").exists() for name, *_ in processes))
    (root / "go").touch()
    return started


def assert_as_undisturbed(root: Path, name: str) -> None:
    """Graphs and tables are those of an unsharded run elsewhere; nothing else is left in the store."""
    run(root, "calm", store="calm-store", shards=1)
    for ours, theirs in (("store/graph", "calm-store/graph"), (f"{name}/tables", "calm/tables")):
        wanted = {p.relative_to(root / theirs): p.read_bytes() for p in (root / theirs).rglob("*") if p.is_file()}
        found = {p.relative_to(root / ours): p.read_bytes() for p in (root / ours).rglob("*") if p.is_file()}
        assert len(wanted) >= 3
        assert found == wanted, ours
    report = Store(root / "store").verify()
    assert [*report.corrupt, *report.orphaned, *report.owned, *report.damaged] == []
    assert not list((root / "store" / "graph_shard").iterdir())


def test_two_processes_build_each_shard_once(tmp_path: Path) -> None:
    write_layers(tmp_path)
    assert [ended(process) for process in together(tmp_path, ("one",), ("two",))] == [0, 0]
    found = searches(tmp_path)
    for what in ("begin", "end"):
        rows = sorted((first, last) for said, _, first, last in found if said == what)
        assert rows == sorted(2 * RANGES), "both graphs, each shard once"
    by = [name for said, name, *_ in found if said == "begin"]
    assert {by.count("one"), by.count("two")} <= set(range(2 * SHARDS // 2 - 2, 2 * SHARDS // 2 + 3)), "shared out"
    assert {name for said, name, *_ in found[:2] if said == "begin"} == {"one", "two"}, "side by side"
    assert_as_undisturbed(tmp_path, "two")


def test_the_shard_of_a_killed_process_is_built_by_the_other(tmp_path: Path) -> None:
    """kill -9 in the middle of its second shard; what it had finished is not built again."""
    write_layers(tmp_path)
    victim, other = together(tmp_path, ("victim", "--hang", "1"), ("other",))
    until(lambda: sum(said == "begin" and name == "victim" for said, name, *_ in searches(tmp_path)) == 2)
    hanging = [search for search in searches(tmp_path) if search[:2] == ("begin", "victim")][-1]
    # The other one has done all that it can, and waits.
    until(lambda: sum(said == "end" for said, *_ in searches(tmp_path)) == SHARDS - 1)
    time.sleep(0.5)
    assert other.poll() is None
    assert not list((tmp_path / "store" / "graph").glob("*/k=*"))
    victim.kill()
    assert (ended(victim), ended(other)) == (-signal.SIGKILL, 0)
    done = [(first, last) for said, _, first, last in searches(tmp_path) if said == "end"]
    assert sorted(done) == sorted(2 * RANGES)
    again = [search for search in searches(tmp_path) if search[0] == "begin" and search[2:] == hanging[2:]]
    assert again[:2] == [hanging, ("begin", "other", *hanging[2:])]
    assert_as_undisturbed(tmp_path, "other")


def test_the_shard_of_a_killed_process_is_built_by_the_next_run(tmp_path: Path) -> None:
    write_layers(tmp_path)
    (victim,) = together(tmp_path, ("victim", "--hang", "2"))
    until(lambda: sum(said == "begin" for said, *_ in searches(tmp_path)) == 3)
    victim.kill()
    assert ended(victim) == -signal.SIGKILL
    before = [search[2:] for search in searches(tmp_path) if search[0] == "end"]
    assert before == RANGES[:2]
    run(tmp_path, "next")
    found = [search for search in searches(tmp_path) if search[1] == "victim"]
    assert len(found) == 5, "two shards and a begun one"
    assert_as_undisturbed(tmp_path, "next")


@pytest.mark.long
def test_an_array_of_single_shards_and_the_plain_command_after_it(tmp_path: Path) -> None:
    """As typed: a sweep over shard numbers (what a job array runs), then the same command without the number."""
    write_layers(tmp_path)

    def rra(outputs: str, *arguments: str) -> str:
        command = [
            *arguments,
            "+experiment=from_activations",
            f"activations.path={tmp_path / 'layers'}",
            "neighbors.k=5",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "rra_cli", "run", *command],
            env=os.environ | {"OMP_NUM_THREADS": "1", "RRA_OUTPUTS": str(tmp_path / outputs), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout + done.stderr

    said = rra("outputs", "-m", "neighbors.shards=3", "neighbors.shard=range(3)")
    assert "shard 2 of 3 of all graphs is in the store" in said
    assert not list((tmp_path / "outputs" / "store" / "graph").glob("*"))
    rra("outputs", "neighbors.shards=3")
    rra("whole")
    tables = [sorted((tmp_path / outputs).glob("*-*-*/*/tables/*.csv")) for outputs in ("outputs", "whole")]
    assert [path.name for path in tables[0]] == [path.name for path in tables[1]]
    assert tables[0]
    for ours, theirs in zip(*tables, strict=True):
        assert ours.read_bytes() == theirs.read_bytes()
