"""Results are freed by the last run that needs them, and readers keep what they have."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from store_building import OTHER, SPEC, build

from rra_cli.core import files
from rra_cli.core.artifact import ArtifactGoneError, StoreError
from rra_cli.core.references import Note
from rra_cli.core.rundir import RunDir
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store


def test_free_removes_and_readers_keep_what_they_have(store: Store) -> None:
    with store.claim(SPEC) as work:
        files.write_array(work.path / "out" / "x.npy", np.arange(100000))
        artifact = work.publish("out")
    mapped = artifact.read_array("x.npy")
    store.free(SPEC)
    store.free(SPEC)  # twice is no fault
    assert store.find(SPEC) is None
    assert mapped.sum() == sum(range(100000))
    assert list((store.root / "trash").iterdir()) == []
    with pytest.raises(ArtifactGoneError, match="was removed while in use"):
        artifact.read_array("x.npy")
    with pytest.raises(ArtifactGoneError, match="was removed while in use"):
        artifact.read_bytes("x.npy")


def test_free_of_an_entry_leaves_the_others(store: Store) -> None:
    build(store, entry="k=20")
    build(store, entry="k=30")
    store.free(SPEC, "k=20")
    assert store.entries(SPEC) == ["k=30"]


def test_references_are_kept_by_run(store: Store, tmp_path: Path) -> None:
    artifact = build(store)
    store.refer("2026-11-20_run", tmp_path / "run", [SPEC, artifact, f"capture/{OTHER.key}"])
    store.refer("other", tmp_path / "other", [])
    store.refer("other", tmp_path / "other", [OTHER])
    names = {f"graph/{SPEC.key}", f"capture/{OTHER.key}"}
    assert store.references() == {
        "2026-11-20_run": Note(tmp_path / "run", frozenset(names)),
        "other": Note(tmp_path / "other", frozenset({f"capture/{OTHER.key}"})),
    }
    with pytest.raises(ValueError, match="a run id"):
        store.refer("../x", tmp_path, [])


def test_an_unreadable_reference_stops_gc_rather_than_being_ignored(store: Store, tmp_path: Path) -> None:
    store.refer("run", tmp_path, [SPEC])
    for content in ("{", "[]", '{"run_folder": "/x", "artifacts": "graph", "released": []}'):
        (store.root / "refs" / "run.json").write_text(content)
        with pytest.raises(StoreError, match=r"run\.json is unreadable"):
            store.references()


def test_the_last_run_that_needs_an_artifact_frees_it(tmp_path: Path) -> None:
    """Two seeds of a sweep measure the same layer 0 with activations.keep=until_measured."""
    root = tmp_path / "store"
    one, two = Store(root), Store(root)
    build(one)
    with RunDir.enter(tmp_path / "one", {}) as first, RunDir.enter(tmp_path / "two", {}) as second:
        one.refer(first.id, first.path, [SPEC])
        two.refer(second.id, second.path, [SPEC, OTHER])
        assert one.free_all([SPEC], run_id=first.id) == [SPEC]
        assert two.find(SPEC) is not None
        assert one.references()[first.id].needed == frozenset()
        assert two.free_all([SPEC], run_id=second.id) == []
        assert two.find(SPEC) is None
        assert two.references()[second.id].needed == {f"capture/{OTHER.key}"}


@pytest.mark.parametrize("end", ["done", "left", "removed"])
def test_a_run_that_is_not_at_work_keeps_nothing_from_being_freed(tmp_path: Path, end: str) -> None:
    store = Store(tmp_path / "store")
    build(store)
    other = RunDir.enter(tmp_path / "other", {})
    store.refer(other.id, other.path, [SPEC])
    with RunDir.enter(tmp_path / "run", {}) as run:
        store.refer(run.id, run.path, [SPEC])
        assert store.free_all([SPEC], run_id=run.id) == [SPEC]
        if end == "done":
            other.status("done")
        elif end == "left":
            other.leave()
        else:
            (tmp_path / "other" / "status.json").unlink()
        assert store.free_all([SPEC], run_id=run.id) == []
        assert store.find(SPEC) is None
    other.leave()


def test_planning_again_takes_back_what_was_released(store: Store, tmp_path: Path) -> None:
    with RunDir.enter(tmp_path / "run", {}) as run:
        for _ in range(2):
            store.refer(run.id, run.path, [SPEC])
            assert store.references()[run.id].needed == {f"graph/{SPEC.key}"}
            store.free_all([SPEC], run_id=run.id)
            assert store.references()[run.id].needed == frozenset()


def test_freeing_many_writes_the_runs_note_once(store: Store, tmp_path: Path, boundaries: list[str]) -> None:
    """And freeing what is released and gone changes nothing at all, however much it is."""
    specs = [Spec("capture", 1, {"layer": number}) for number in range(20)]
    for spec in specs[:10]:
        build(store, spec)
    with RunDir.enter(tmp_path / "run", {}) as run:
        store.refer(run.id, run.path, specs)
        boundaries.clear()
        assert store.free_all(specs, run_id=run.id) == []
        assert [name for name in boundaries if "begin" in name and name.startswith("write")] == [
            f"write {run.id}.json: begin"
        ]
        assert sum(name.endswith(": hidden") for name in boundaries) == 10
        assert not any(store.find(spec) for spec in specs)
        boundaries.clear()
        assert store.free_all(specs, run_id=run.id) == []
        assert boundaries == []
        build(store, specs[0])  # the negative control: what came back is freed again
        boundaries.clear()
        assert store.free_all(specs, run_id=run.id) == []
        assert boundaries != []
        assert store.find(specs[0]) is None


def test_what_is_released_from_the_start_is_anybodys_to_free(store: Store, tmp_path: Path) -> None:
    for spec in (SPEC, OTHER):
        build(store, spec)
    with RunDir.enter(tmp_path / "one", {}) as one, RunDir.enter(tmp_path / "two", {}) as two:
        store.refer(one.id, one.path, [SPEC, OTHER], released=[SPEC])
        store.refer(two.id, two.path, [SPEC, OTHER])
        assert store.references()[one.id].needed == {f"capture/{OTHER.key}"}
        assert store.free_all([SPEC, OTHER], run_id=two.id) == [OTHER]


def test_unfinished_work_holds_what_is_written_and_not_what_is_only_laid_out(store: Store) -> None:
    assert store.held(SPEC) == 0
    assert not store.root.exists()
    with store.claim(SPEC) as work:
        before = store.held(SPEC)
        with open(work.path / "layer", "wb") as file:
            file.truncate(50 * 10**6)  # as a layer's file is made
        laid_out = store.held(SPEC)
        assert laid_out - before < 10**6
        with open(work.path / "layer", "r+b") as file:
            file.write(os.urandom(4 * 10**6))
            file.flush()
            os.fsync(file.fileno())
        assert 4 * 10**6 <= store.held(SPEC) - laid_out < 5 * 10**6
    assert store.held(SPEC) == 0
