"""While gc is at work others build, begin, die and come back: nothing that they need is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from garbage import GRAPH, OTHER, a_run, aged, build, interrupted, kinds

from rra_cli.core import collect as collecting
from rra_cli.core import files
from rra_cli.core.collect import collect
from rra_cli.core.lease import Lease, LeaseLostError
from rra_cli.core.process import Owner
from rra_cli.core.store import Store
from rra_cli.errors import UserError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "outputs" / "store", stale_after=1, warn=lambda message: None)


def test_what_somebody_builds_is_left_alone(store: Store) -> None:
    """A process that notes nothing, as a notebook does: its entries and its work stay while it lives."""
    a_run(store, "run")
    with store.claim(GRAPH) as work:
        files.write_bytes(work.path / "out" / "a.bin", b"x")
        work.publish("out", "k=3")
        found = collect(store)
        assert found.removed == ()
        assert [item.verdict for item in found.before.items] == ["in use", "in use"]
    assert kinds(collect(store)) == ["graph"]


def test_work_on_another_machine_is_judged_by_its_silence(store: Store) -> None:
    a_run(store, "run")
    work = interrupted(store, GRAPH)
    owner = Owner.this_process()
    link = next((work / "lease").glob("after-*"))
    record = {**owner.as_json(), "host": "elsewhere", "id": json.loads((link / "owner.json").read_text())["id"]}
    (link / "owner.json").write_text(json.dumps(record))
    assert collect(store).removed == ()
    aged(store)
    assert kinds(collect(store)) == ["unfinished work"]


def test_a_run_that_begins_before_the_last_look_keeps_what_it_needs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(store, GRAPH)
    build(store, OTHER)
    a_run(store, "old")
    looked = collecting.survey

    def look(*args: object, **options: object) -> object:
        found = looked(*args, **options)  # type: ignore[arg-type]
        a_run(store, "new", GRAPH)
        return found

    monkeypatch.setattr(collecting, "survey", look)
    found = collect(store)
    assert [item.name for item in found.removed] == [f"graph/{OTHER.key}"]
    assert [item.name for item in found.spared] == [f"graph/{GRAPH.key}"]
    assert store.find(GRAPH) is not None


def test_a_run_that_begins_after_the_last_look_waits_and_then_finds_it_gone(store: Store) -> None:
    """It must not find the artifact, count on it, and see it vanish."""
    build(store, GRAPH)
    a_run(store, "old")
    began, seen = threading.Event(), []

    def begin() -> None:
        began.set()
        a_run(store, "new", GRAPH)
        seen.append(store.find(GRAPH))

    run = threading.Thread(target=begin)
    hide = store.place.hide

    def slowly(path: Path) -> None:
        run.start()
        began.wait(5)
        time.sleep(0.3)  # in which an impatient run would have looked
        assert seen == []
        hide(path)

    store.place.hide = slowly  # type: ignore[method-assign]
    assert kinds(collect(store)) == ["graph"]
    run.join(10)
    assert seen == [None]


def test_nobody_waits_for_a_gc_that_was_killed(store: Store) -> None:
    a_run(store, "old")
    script = f"""
        import os, signal
        from pathlib import Path
        from rra_cli.core.store import Store
        with Store(Path({str(store.root)!r})).removals().alone() as announcement:
            announcement.announce(["graph/{GRAPH.key}"])
            os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert (store.root / "refs" / "removing").exists()
    began = time.monotonic()
    a_run(store, "new", GRAPH)
    assert time.monotonic() - began < 5, "the owner is dead: nobody waits for the half minute that a silent one gets"
    collect(store)
    assert sorted(path.name for path in (store.root / "refs").iterdir()) == ["new.json", "old.json"]


def test_one_gc_at_a_time(store: Store) -> None:
    a_run(store, "run")
    refused: list[UserError] = []

    def second() -> None:
        try:
            collect(store)
        except UserError as error:
            refused.append(error)

    with store.removals().alone():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(10)
    assert "another `rra gc` works on this store" in refused[0].message
    collect(store)


def test_a_gc_that_was_taken_for_dead_removes_nothing_more(store: Store) -> None:
    """A run goes on without waiting for a gc that was suspended; the gc must notice before it removes."""
    build(store, GRAPH)
    a_run(store, "run")
    announcement = store.removals()
    with announcement.alone():
        announcement.check()
        mine = announcement._lease.owner
        assert mine is not None
        Lease(store.root / "refs" / ".gc")._place(Owner.this_process(), f"after-{mine.id}")
        with pytest.raises(LeaseLostError):
            announcement.check()


def test_a_forgotten_run_that_comes_back_keeps_its_note(store: Store, tmp_path: Path) -> None:
    folder = a_run(store, "run", GRAPH)
    shutil.rmtree(folder)
    rename = os.rename

    def rename_and_begin_again(source: object, target: object) -> None:
        rename(source, target)  # type: ignore[type-var]
        if str(source).endswith("run.json"):
            folder.mkdir()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", rename_and_begin_again)
        store.forget("run")
    assert store.references().keys() == {"run"}


def test_a_gc_killed_anywhere_leaves_whole_artifacts(kill_everywhere: Callable[[str], int]) -> None:
    kills = kill_everywhere(
        """
from rra_cli.core import files
from rra_cli.core.collect import collect
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
MINE, GONE, HALF = (Spec("graph", 1, {"n": n}) for n in range(3))

def build(store, spec):
    with store.claim(spec) as work:
        files.write_bytes(work.path / "out" / "a.bin", b"x" * 100)
        work.publish("out")
def prepare(root):
    store = Store(root / "store")
    for spec in (MINE, GONE):
        build(store, spec)
    try:
        with store.claim(HALF) as work:
            files.write_bytes(work.path / "half", b"x")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    for name, spec in (("run", MINE), ("deleted", GONE)):
        (root / name).mkdir()
        store.refer(name, root / name, [spec])
    (root / "deleted").rmdir()
def scenario(root):
    collect(Store(root / "store"))
def check(root, names):
    store = Store(root / "store")
    assert store.verify().ok
    assert store.find(MINE) is not None
    collect(store)
    assert store.find(MINE) is not None and store.find(GONE) is None
    assert not list((root / "store").glob("*/*.work"))
    # What a kill left in `refs` is a note set aside at most, which a later gc removes when it is old.
    left = {path.name for path in (root / "store" / "refs").iterdir()}
    assert "run.json" in left and "deleted.json" not in left and "removing" not in left, left
"""
    )
    assert kills >= 8
