"""Results are built once by many, and outlive every kill."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from store_building import SPEC, contents, fail_after

from rra_cli.core import files
from rra_cli.core.lease import Lease, LeaseLostError
from rra_cli.core.store import Store
from rra_cli.errors import UserError


def test_an_exception_keeps_the_work_for_the_next(store: Store) -> None:
    fail_after(store, "part", ".tmp-1234-x")
    with store.claim(SPEC) as work:
        assert {path.name: path.read_text() for path in work.path.iterdir()} == {"part": "unfinished"}
    assert not Path(f"{store.folder(SPEC)}.work").exists()


def test_a_fault_before_anything_was_built_leaves_nothing(store: Store) -> None:
    fail_after(store)
    assert contents(store.root) == {"graph", "trash"}


@pytest.mark.parametrize(("number", "words"), [(28, "disk full"), (122, "quota"), (27, "too large"), (30, "read-only")])
def test_a_disk_that_refuses_a_builders_own_write_is_named(store: Store, number: int, words: str) -> None:
    with pytest.raises(UserError, match=words), store.claim(SPEC):
        raise OSError(number, os.strerror(number))
    # What is read while something is built may be forbidden for other reasons.
    with pytest.raises(PermissionError), store.claim(SPEC):
        raise PermissionError(13, "Permission denied", "/somebody/elses/file")


def test_an_owner_that_lost_its_lease_publishes_nothing(store: Store) -> None:
    with store.claim(SPEC) as work:
        files.write_bytes(work.path / "out" / "a", b"x")
        heir = Lease(work._lease.folder)
        assert heir._follow(work._lease.owner)
        with pytest.raises(LeaseLostError):
            work.publish("out")
        heir_path = heir.folder.parent / f"content-{heir.owner.id if heir.owner else ''}"
        os.rename(work.path, heir_path)  # as the heir does
    assert heir_path.exists()
    assert store.find(SPEC) is None
    heir.check()
    heir.stop()


def test_an_owner_that_comes_back_can_no_longer_reach_the_work(store: Store) -> None:
    """Even between its last check and the rename: the heir gave the folder another name."""
    with store.claim(SPEC) as old:
        files.write_bytes(old.path / "out" / "a", b"x")
        lease = Lease(old._lease.folder)
        assert lease._follow(old._lease.owner)
        lease.predecessors = (old._lease.owner.id,) if old._lease.owner else ()
        from rra_cli.core.work import Work

        new = Work(store, SPEC, lease, old._folder)
        assert (new.path / "out" / "a").read_bytes() == b"x"
        with pytest.raises(FileNotFoundError):
            store.publish(old.path / "out", SPEC, None)
    assert new.publish("out").read_bytes("a") == b"x"  # leaving the old claim did no harm
    new.close()


BUILD = """
from rra_cli.core.store import Store
from rra_cli.core.spec import Spec
SPEC, LAYER = Spec("graph", 1, {"n": 1}), Spec("capture", 1, {"layer": "conv"})

def part(path, log, content):
    if not path.exists():
        with open(log, "a") as file:
            file.write(path.name + "\\n")
        files.write_bytes(path, content)

def build(root):
    log = root.with_name(root.name + ".log")
    store = Store(root, stale_after=3600)
    with store.claim(SPEC) as work:
        if store.find(LAYER) is None:
            part(work.path / "layer" / "a.bin", log, b"a" * 1000)
            part(work.path / "layer" / "b.bin", log, b"b" * 1000)
            work.publish("layer", spec=LAYER)
        if store.find(SPEC, "best") is None:
            part(work.path / "c.bin", log, b"c" * 1000)
            part(work.path / "d.bin", log, b"d" * 1000)
            work.publish(["c.bin", "d.bin"], entry="best")
    return store

def whole(store):
    assert store.verify().ok, store.verify()
    for spec, entry, names in ((LAYER, None, ["a.bin", "b.bin"]), (SPEC, "best", ["c.bin", "d.bin"])):
        found = store.find(spec, entry)
        if found is not None:
            assert sorted(found.files) == names
            assert all(found.read_bytes(name) == name[:1].encode() * 1000 for name in names)
    assert not (store.root / "damaged").exists()
"""


def test_a_build_killed_anywhere_is_whole_or_absent_and_goes_on(kill_everywhere: Callable[[str], int]) -> None:
    kills = kill_everywhere(
        BUILD
        + """
def prepare(root):
    pass
def scenario(root):
    build(root)
def check(root, names):
    whole(Store(root))
    finished = {path.name for path in root.rglob("*.bin") if not path.name.startswith(files.LEFTOVER)}
    log = root.with_name(root.name + ".log")
    before = log.read_text().split() if log.exists() else []
    store = build(root)
    whole(store)
    assert store.find(LAYER) and store.find(SPEC, "best")
    after = log.read_text().split()
    # Every finished part was kept; at most the one that was being written is made again.
    assert all(after.count(name) == 1 for name in finished), (finished, after)
    assert len(after) <= 5, after
    # Nothing is left lying about.
    assert {path.name for path in root.iterdir()} == {"graph", "capture", "trash"}
    assert not list(root.glob("*/*.work")) and not list((root / "trash").iterdir())
    assert not [path for path in root.rglob("*") if path.name.startswith(files.LEFTOVER)]
"""
    )
    assert kills > 30


def test_a_removal_killed_anywhere_is_whole_or_absent(kill_everywhere: Callable[[str], int]) -> None:
    kills = kill_everywhere(
        BUILD
        + """
import os
def prepare(root):
    store = build(root)
    os.truncate(store.find(SPEC, "best").path / "c.bin", 1)
def scenario(root):
    store = Store(root, warn=lambda message: None)
    assert store.find(SPEC, "best") is None      # moves it aside
    store.free(LAYER)
    store.refer("run", root, [LAYER])
def check(root, names):
    store = Store(root, warn=lambda message: None)
    found = store.find(LAYER)
    assert found is None or found.read_bytes("a.bin") == b"a" * 1000
    assert store.find(SPEC, "best") is None
    notes = store.references()
    assert not notes or notes["run"].needed == {f"capture/{LAYER.key}"}
    build(root)
    assert store.find(LAYER) and store.find(SPEC, "best")
    assert not list((root / "trash").iterdir())
"""
    )
    assert kills >= 8


RACER = """
    import sys, time
    from pathlib import Path
    from rra_cli.core import files
    from rra_cli.core.spec import Spec
    from rra_cli.core.store import Store
    spec = Spec("graph", 1, {"n": 1})
    store = Store(Path(sys.argv[1]), stale_after=30)
    with store.claim(spec) as work:
        if store.find(spec) is None:
            with open(sys.argv[2], "a") as file:
                file.write("built\\n")
            time.sleep(0.1)
            files.write_bytes(work.path / "out" / "a.bin", b"x" * 10)
            work.publish("out")
    found = store.find(spec)
    assert found is not None and found.read_bytes("a.bin") == b"x" * 10
"""


@pytest.mark.parametrize("n_processes", [2, 8])
def test_of_many_processes_one_builds_and_all_read(tmp_path: Path, n_processes: int) -> None:
    command = [sys.executable, "-c", textwrap.dedent(RACER), str(tmp_path / "store"), str(tmp_path / "log")]
    children = [subprocess.Popen(command) for _ in range(n_processes)]
    assert [child.wait(30) for child in children] == [0] * n_processes
    assert (tmp_path / "log").read_text() == "built\n"
    assert Store(tmp_path / "store").verify().ok
    assert not list((tmp_path / "store").glob("*/*.work"))


def test_a_waiter_is_told_whom_it_waits_for(store: Store) -> None:
    import threading

    heard: list[str] = []

    def wait() -> None:
        with store.claim(SPEC, on_wait=heard.append):
            pass

    with store.claim(SPEC):
        thread = threading.Thread(target=wait)
        thread.start()
        while not heard:
            thread.join(0.01)
    thread.join()
    assert heard == [f"graph {SPEC.key[:12]}: waiting for process {os.getpid()} on {os.uname().nodename}"]
