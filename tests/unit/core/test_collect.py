"""gc removes what no run refers to, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from garbage import CAPTURE, DAY, GRAPH, OTHER, a_run, aged, build, interrupted, kinds

from rra_cli.core import files
from rra_cli.core.artifact import StoreError
from rra_cli.core.collect import collect
from rra_cli.core.store import Store
from rra_cli.core.survey import survey
from rra_cli.errors import UserError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "outputs" / "store", stale_after=1, warn=lambda message: None)


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
