"""gc removes what no run refers to, nothing else, and other processes may work meanwhile."""

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

from rra_cli.core import collect as collecting
from rra_cli.core import files
from rra_cli.core.artifact import Artifact, StoreError
from rra_cli.core.collect import Collected, collect
from rra_cli.core.lease import Lease, LeaseLostError
from rra_cli.core.process import Owner
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.core.survey import survey
from rra_cli.errors import UserError

DAY = 86400.0
CAPTURE, GRAPH, OTHER = Spec("capture", 1, {"n": 1}), Spec("graph", 1, {"n": 2}), Spec("graph", 1, {"n": 3})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "outputs" / "store", stale_after=1, warn=lambda message: None)


def build(store: Store, spec: Spec, entry: str | None = None, size: int = 100_000) -> Artifact:
    with store.claim(spec) as work:
        files.write_bytes(work.path / "out" / "a.bin", b"x" * size)
        return work.publish("out", entry)


def interrupted(store: Store, spec: Spec) -> Path:
    """Work that a process began and did not finish."""
    try:
        with store.claim(spec) as work:
            files.write_bytes(work.path / "half", b"y" * 50_000)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return Path(f"{store.folder(spec)}.work")


def a_run(store: Store, name: str, *specs: Spec, where: Path | None = None) -> Path:
    folder = (store.root.parent if where is None else where) / name
    folder.mkdir(parents=True)
    store.refer(name, folder, specs)
    return folder


def aged(store: Store, days: float = 30) -> None:
    """Everything in the store as if it had changed that long ago."""
    then = time.time() - days * DAY
    for path in [store.root, *store.root.rglob("*")]:
        os.utime(path, (then, then), follow_symlinks=False)


def kinds(found: Collected) -> list[str]:
    return sorted(item.kind for item in found.removed)


def test_what_a_run_refers_to_stays_and_the_rest_goes(store: Store) -> None:
    for spec in (CAPTURE, GRAPH, OTHER):
        build(store, spec)
    a_run(store, "run", CAPTURE)
    found = collect(store)
    assert {item.name for item in found.removed} == {f"graph/{GRAPH.key}", f"graph/{OTHER.key}"}
    assert store.find(CAPTURE) is not None
    assert store.find(GRAPH) is None
    assert list((store.root / "trash").iterdir()) == []
    assert store.verify().ok


def test_sizes_are_those_that_the_disk_gives_back(store: Store) -> None:
    artifact = build(store, GRAPH, size=1_000_000)
    a_run(store, "run")
    used = int(subprocess.run(["du", "-s", "-B1", artifact.path], capture_output=True, check=True).stdout.split()[0])
    (item,) = survey(store).items
    assert (item.kind, item.size) == ("graph", used)


@pytest.mark.parametrize("state", ["running", "failed", "done", None])
def test_a_run_counts_whatever_its_state(store: Store, state: str | None) -> None:
    build(store, GRAPH)
    folder = a_run(store, "run", GRAPH)
    if state is not None:
        (folder / "status.json").write_text(json.dumps({"state": state}))
    aged(store)
    assert collect(store).removed == ()


def test_unfinished_work_of_a_run_stays_and_that_of_nobody_goes(store: Store) -> None:
    mine, nobodys = interrupted(store, GRAPH), interrupted(store, OTHER)
    a_run(store, "run", GRAPH)
    assert kinds(collect(store)) == ["unfinished work"]
    assert (mine.exists(), nobodys.exists()) == (True, False)
    with store.claim(GRAPH) as work:
        assert (work.path / "half").read_bytes() == b"y" * 50_000


def test_a_run_of_a_deleted_folder_is_forgotten(store: Store) -> None:
    build(store, GRAPH)
    folder = a_run(store, "run", GRAPH)
    shutil.rmtree(folder)
    found = collect(store)
    assert found.forgotten == ("run",)
    assert kinds(found) == ["graph"]
    assert store.references() == {}
    assert list((store.root / "refs").iterdir()) == []


def test_a_run_elsewhere_on_this_machine_counts_until_it_is_deleted(store: Store, tmp_path: Path) -> None:
    build(store, GRAPH)
    folder = a_run(store, "run", GRAPH, where=tmp_path / "elsewhere")
    assert collect(store).removed == ()
    shutil.rmtree(folder)
    assert kinds(collect(store)) == ["graph"]


def test_a_folder_that_cannot_be_seen_from_here_counts_as_there(store: Store, tmp_path: Path) -> None:
    """A disk that is not mounted now, or a run on another machine's own disk."""
    build(store, GRAPH)
    build(store, OTHER)
    away = a_run(store, "away", GRAPH, where=tmp_path / "media" / "disk")
    shutil.rmtree(tmp_path / "media")
    a_run(store, "other_machine", OTHER, where=tmp_path / "scratch")
    note = store.root / "refs" / "other_machine.json"
    note.write_text(note.read_text().replace(json.dumps(os.uname().nodename), '"elsewhere"'))
    shutil.rmtree(tmp_path / "scratch" / "other_machine")
    found = collect(store)
    assert found.removed == ()
    assert found.before.count("unseen") == 2
    assert not away.exists()
    assert kinds(collect(store, forget_unseen=True)) == ["graph", "graph"]


def test_outputs_that_were_moved_as_a_whole_lose_nothing(store: Store, tmp_path: Path) -> None:
    build(store, GRAPH)
    a_run(store, "run", GRAPH)
    os.rename(tmp_path / "outputs", tmp_path / "moved")
    moved = Store(tmp_path / "moved" / "store")
    assert collect(moved).removed == ()
    assert moved.find(GRAPH) is not None


def test_what_a_run_has_released_does_not_count(store: Store) -> None:
    build(store, GRAPH)
    folder = store.root.parent / "run"
    folder.mkdir()
    store.refer("run", folder, [GRAPH], released=[GRAPH])
    assert kinds(collect(store)) == ["graph"]


def test_fresh_artifacts_are_protected(store: Store) -> None:
    build(store, GRAPH)
    a_run(store, "run")
    assert collect(store, older_than=7 * DAY).removed == ()
    aged(store, days=6)
    found = collect(store, older_than=7 * DAY)
    assert [item.verdict for item in found.before.items] == ["fresh"]
    aged(store, days=8)
    assert kinds(collect(store, older_than=7 * DAY)) == ["graph"]


@pytest.mark.parametrize("days", [-3650, 3650])
def test_a_clock_that_jumped_costs_no_run_anything(store: Store, days: float) -> None:
    """Times in the future are fresh; times long ago are old, which matters only where no run refers to it."""
    build(store, GRAPH)
    build(store, OTHER)
    a_run(store, "run", GRAPH)
    aged(store, days)
    assert [item.name for item in collect(store, older_than=DAY).removed] == [f"graph/{OTHER.key}"] * (days > 0)
    assert store.find(GRAPH) is not None


def test_damaged_trash_and_plots_go_and_cached_hashes_stay(store: Store) -> None:
    artifact = build(store, GRAPH)
    os.truncate(artifact.path / "a.bin", 3)
    assert store.find(GRAPH) is None  # moved aside
    a_run(store, "run", GRAPH)
    for name in (f"trash/{'0' * 16}/x", f"cache/plots/{'a' * 64}/p.png", "cache/hashes/h.json", "refs/.tmp-1-run.json"):
        path = store.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert kinds(collect(store, older_than=DAY)) == ["trash"]
    aged(store)
    assert kinds(collect(store, older_than=DAY)) == ["damaged", "leftovers", "plots"]
    assert (store.root / "cache" / "hashes" / "h.json").exists()
    assert list((store.root / "damaged").iterdir()) == []
    assert store.references().keys() == {"run"}


def test_drawn_plots_and_unfinished_writes_are_left_while_they_may_be_at_work(store: Store) -> None:
    a_run(store, "run")
    for name in (f"cache/plots/{'a' * 64}/p.png", "refs/.tmp-1-run.json"):
        path = store.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert collect(store, older_than=0).removed == ()


def test_what_is_not_ours_is_never_touched(store: Store, tmp_path: Path) -> None:
    a_run(store, "run")
    outside = tmp_path / "outside"
    (outside / ("b" * 64)).mkdir(parents=True)
    strange = ["holiday/pictures/1.jpg", "graph/notes.txt", "trash/mine.txt", "damaged/mine/1.txt", f"Up/{'c' * 64}/x"]
    for name in strange:
        path = store.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    (store.root / "linked").symlink_to(outside)
    (store.root / "graph" / ("d" * 64)).symlink_to(outside)
    aged(store)
    assert survey(store).items == ()
    # The trash is emptied whenever something is discarded: what lies there was meant to go.
    assert all((store.root / name).exists() for name in strange if not name.startswith("trash"))


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no store that a run has used") as caught:
        collect(Store(tmp_path))
    assert "store.root" in str(caught.value.hint)


def test_trash_that_leads_out_of_the_store_is_not_emptied(store: Store, tmp_path: Path) -> None:
    build(store, GRAPH)
    a_run(store, "run")
    files.remove(store.root / "trash")
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    (store.root / "trash").symlink_to(home)
    with pytest.raises(StoreError, match="trash is a symbolic link"):
        collect(store)
    with pytest.raises(StoreError, match="trash is a symbolic link"):
        store.free(GRAPH)
    assert (home / "thesis.tex").read_text() == "years of work"


def test_an_unreadable_note_stops_everything(store: Store) -> None:
    build(store, GRAPH)
    a_run(store, "run", GRAPH)
    for content in ("{", "[" * 100_000, '{"run_folder": "/x", "artifacts": "graph", "released": []}', "[]"):
        (store.root / "refs" / "run.json").write_text(content)
        with pytest.raises(StoreError, match=r"run\.json is unreadable"):
            collect(store)
    assert store.find(GRAPH) is not None


def test_a_note_of_an_earlier_version_counts(store: Store) -> None:
    """Without host and relative path nothing tells that a folder outside of the outputs was deleted."""
    build(store, GRAPH)
    for place, removed in (("/nowhere/run", []), (str(store.root.parent / "run"), ["graph"])):
        note = {"run_folder": place, "artifacts": [f"graph/{GRAPH.key}"], "released": []}
        files.write_json(store.root / "refs" / "run.json", note)
        assert kinds(collect(store)) == removed


# --- others work meanwhile ------------------------------------------------------------------------------------------


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
    hide = store.hide

    def slowly(path: Path) -> None:
        run.start()
        began.wait(5)
        time.sleep(0.3)  # in which an impatient run would have looked
        assert seen == []
        hide(path)

    store.hide = slowly  # type: ignore[method-assign]
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
    assert time.monotonic() - began < 0.5
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
