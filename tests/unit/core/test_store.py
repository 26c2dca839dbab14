"""Results are whole, are what they say, are built once, and outlive every kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rra_cli.core import files
from rra_cli.core import store as store_module
from rra_cli.core.artifact import Artifact, ArtifactGoneError, StoreError
from rra_cli.core.lease import Lease, LeaseLostError
from rra_cli.core.references import Note
from rra_cli.core.rundir import RunDir
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.errors import UserError

SPEC = Spec("graph", 1, {"metric": "euclidean", "n": 10})
OTHER = Spec("capture", 2, {"layer": "conv1"}, (SPEC.key,))


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, warnings: list[str]) -> Store:
    return Store(tmp_path / "store", stale_after=5, warn=warnings.append)


def build(store: Store, spec: Spec = SPEC, entry: str | None = None, content: bytes = b"0123456789") -> Artifact:
    with store.claim(spec) as work:
        files.write_bytes(work.path / "out" / "a.bin", content)
        files.write_bytes(work.path / "out" / "deep" / "b.bin", b"b")
        return work.publish("out", entry, details={"seconds": 1})


def fail_after(store: Store, *names: str) -> None:
    """Begins to build, writes some files, and is interrupted."""
    try:
        with store.claim(SPEC) as work:
            for name in names:
                (work.path / name).write_text("unfinished")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return


def contents(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_what_is_published_is_found_by_an_equal_spec(store: Store) -> None:
    assert store.find(SPEC) is None
    made = build(store)
    found = store.find(Spec("graph", 1, {"n": 10, "metric": "euclidean"}))
    assert found == made
    assert found is not None
    assert found.path == store.root / "graph" / SPEC.key == store.folder(SPEC)
    assert found.name == f"graph/{SPEC.key}"
    assert found.read_bytes("a.bin") == b"0123456789"
    assert found.read_bytes("deep/b.bin") == b"b"
    assert found.size == 11
    assert dict(found.details) == {"seconds": 1}
    assert contents(store.root) == {
        "graph",
        f"graph/{SPEC.key}",
        *(f"graph/{SPEC.key}/{name}" for name in ("a.bin", "deep", "deep/b.bin", "meta.json")),
        "trash",
    }


def test_another_spec_finds_nothing(store: Store) -> None:
    """Negative control: every part of a spec counts."""
    build(store)
    for spec in (Spec("graph", 2, SPEC.identity), Spec("graph", 1, {**SPEC.identity, "n": 11}), OTHER):
        assert store.find(spec) is None


def test_the_checksums_are_those_of_the_files(store: Store) -> None:
    artifact = build(store)
    done = subprocess.run(["sha256sum", artifact.file("a.bin")], capture_output=True, text=True, check=True)
    assert artifact.files["a.bin"].sha256 == done.stdout.split()[0]


def test_looking_writes_nothing(store: Store) -> None:
    assert store.find(SPEC) is None
    assert store.entries(SPEC) == []
    assert store.references() == {}
    assert store.verify().n_artifacts == 0
    assert not store.root.exists()


def test_entries_are_published_one_by_one(store: Store) -> None:
    build(store, entry="k=150", content=b"long")
    build(store, entry="k=20")
    assert store.entries(SPEC) == ["k=150", "k=20"]
    found = store.find(SPEC, "k=150")
    assert found is not None
    assert found.name == f"graph/{SPEC.key}/k=150"
    assert found.read_bytes("a.bin") == b"long"
    assert store.find(SPEC, "k=7") is None
    assert store.find(SPEC) is None  # the folder of entries is no artifact itself, nor a damaged one
    assert store.entries(SPEC) == ["k=150", "k=20"]


def test_one_claim_may_publish_many(store: Store) -> None:
    with store.claim(OTHER) as work:
        specs = [Spec("capture", 2, {"layer": f"conv{number}"}) for number in range(5)]
        for number, spec in enumerate(specs):
            files.write_array(work.path / f"layer{number}" / "x.npy", np.full((3, 2), number))
            work.publish(f"layer{number}", spec=spec)
            assert store.find(spec) is not None  # at once, before the claim ends
    for number, spec in enumerate(specs):
        found = store.find(spec)
        assert found is not None
        assert np.array_equal(found.read_array("x.npy"), np.full((3, 2), number))


def test_single_files_are_published_and_leave_the_work_folder(store: Store) -> None:
    with store.claim(SPEC) as work:
        for name in ("a.json", "deep/b.json", "later.bin"):
            files.write_json(work.path / name, [1])
        artifact = work.publish(["a.json", "deep/b.json"], entry="best")
        assert set(artifact.files) == {"a.json", "deep/b.json"}
        assert {path.name for path in work.path.rglob("*") if path.is_file()} == {"later.bin"}


def test_an_equal_artifact_that_lies_there_is_kept(store: Store) -> None:
    first = build(store, content=b"first")
    second = build(store, content=b"second")
    assert second == first
    assert second.read_bytes("a.bin") == b"first"
    assert contents(store.root / "graph") == contents(first.path.parent)


def test_one_that_is_published_between_look_and_rename_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = files.publish_folder
    rival = Store(store.root)
    raced = []

    def slow(source: Path, target: Path) -> None:
        if not raced:
            raced.append(True)
            with rival.claim(OTHER) as work:
                files.write_bytes(work.path / "out" / "a.bin", b"rival")
                work.publish("out", spec=SPEC)
        publish(source, target)

    monkeypatch.setattr(files, "publish_folder", slow)
    assert build(store).read_bytes("a.bin") == b"rival"


def test_a_folder_that_is_not_ours_is_not_replaced(store: Store) -> None:
    (store.folder(SPEC) / "entry").mkdir(parents=True)
    with pytest.raises(StoreError, match="holds something that is not an artifact"):
        build(store)


# --- damage ---------------------------------------------------------------------------------------------------------


def test_another_spec_in_meta_is_an_error_that_shows_the_difference(store: Store, warnings: list[str]) -> None:
    artifact = build(store)
    meta = json.loads((artifact.path / "meta.json").read_text())
    meta["spec"]["identity"]["n"] = 11
    (artifact.path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(StoreError, match=r"identity\.n: stored 11, asked for 10") as caught:
        store.find(SPEC)
    assert "remove that folder" in str(caught.value.hint)
    assert artifact.path.exists()
    assert warnings == []


def test_an_artifact_under_another_entrys_name_is_an_error(store: Store) -> None:
    artifact = build(store, entry="k=20")
    os.rename(artifact.path, artifact.path.with_name("k=30"))
    with pytest.raises(StoreError, match="entry: stored 'k=20', asked for 'k=30'"):
        store.find(SPEC, "k=30")


def _truncate(folder: Path) -> None:
    os.truncate(folder / "a.bin", 3)


def _grow(folder: Path) -> None:
    with open(folder / "a.bin", "ab") as file:
        file.write(b"!")


def _remove(folder: Path) -> None:
    (folder / "deep" / "b.bin").unlink()


def _no_meta(folder: Path) -> None:
    (folder / "meta.json").unlink()


def _bad_meta(folder: Path) -> None:
    os.truncate(folder / "meta.json", 20)


def _empty_meta(folder: Path) -> None:
    (folder / "meta.json").write_text("[]")


def _link(folder: Path) -> None:
    (folder / "a.bin").rename(folder / "c.bin")
    (folder / "a.bin").symlink_to("c.bin")


def _escape(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    meta["files"]["../../secret"] = meta["files"].pop("a.bin")
    (folder.parent.parent / "secret").write_text("0123456789")
    (folder / "meta.json").write_text(json.dumps(meta))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (_truncate, "a.bin has 3 bytes instead of 10"),
        (_grow, "a.bin has 11 bytes instead of 10"),
        (_remove, "deep/b.bin is missing"),
        (_no_meta, "meta.json is missing"),
        (_bad_meta, "meta.json is unreadable"),
        (_empty_meta, "meta.json is unreadable"),
        (_link, "a.bin is reached through a symbolic link"),
        (_escape, "'../../secret' is not a file below the artifact"),
    ],
)
def test_a_damaged_artifact_is_moved_aside_and_built_again(
    store: Store, warnings: list[str], damage: Callable[[Path], None], what: str
) -> None:
    artifact = build(store)
    damage(artifact.path)
    assert store.find(SPEC) is None
    assert len(warnings) == 1
    assert what in warnings[0]
    assert "it is built again" in warnings[0]
    (aside,) = (store.root / "damaged").iterdir()
    assert str(aside) in warnings[0]
    assert any(aside.iterdir())  # nothing was thrown away
    assert build(store).read_bytes("a.bin") == b"0123456789"
    assert store.find(SPEC) is not None


def test_in_full_every_byte_is_compared(store: Store, warnings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: without it only sizes are, and a file that was not published is no damage of those that were."""
    monkeypatch.setattr(store_module, "SMALL", 5)
    artifact = build(store)
    (artifact.path / "a.bin").write_bytes(b"0123456788")
    (artifact.path / ".of_the_file_system").write_text("")
    assert store.find(SPEC) is not None
    assert store.find(SPEC, in_full=True) is None
    (line,) = warnings
    assert "a.bin has other content than was published" in line
    build(store)
    assert store.find(SPEC, in_full=True) is not None
    (store.find(SPEC).path / ".of_the_file_system").write_text("")  # type: ignore[union-attr]
    assert Store(store.root).find(SPEC, in_full=True) is not None


@pytest.mark.parametrize("name", ["a.bin", "meta.json"])
def test_what_is_small_is_compared_at_the_first_look(store: Store, warnings: list[str], name: str) -> None:
    """Of meta.json also what no key depends on: the details that its maker noted."""
    with store.claim(SPEC) as work:
        files.write_bytes(work.path / "out" / "a.bin", b"0123456789")
        path = work.publish("out", details={"rows": "0123456789"}).path / name
    path.write_bytes(path.read_bytes().replace(b"0123456789", b"0123456788"))
    assert store.find(SPEC) is None
    (line,) = warnings
    assert f"{name} has other content than was published" in line


def test_damage_that_cannot_be_moved_aside_says_so(store: Store) -> None:
    artifact = build(store)
    _truncate(artifact.path)
    (store.root / "damaged").write_text("in the way")
    with pytest.raises(StoreError, match=r"is damaged: a\.bin has 3 bytes .* could not be moved") as caught:
        store.find(SPEC)
    assert "remove that folder" in str(caught.value.hint)


def test_verify_finds_what_a_look_cannot_see(
    store: Store, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "SMALL", 5)
    artifact = build(store)
    build(store, OTHER, "best")
    assert store.verify().ok
    content = bytearray(artifact.read_bytes("a.bin"))
    content[4] ^= 1
    (artifact.path / "a.bin").write_bytes(content)
    assert store.find(SPEC) is not None  # sizes alone are checked when it is opened
    seen: list[tuple[int, int]] = []
    report = store.verify(lambda done, total, note="": seen.append((done, total)))
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert report.n_artifacts == 2
    assert report.corrupt == ((artifact.path, "a.bin has other content than was published (sha256 differs)"),)
    assert not report.ok
    assert "2 artifacts" in report.lines()[0]
    assert "1 corrupt" in report.lines()[0]
    assert artifact.path.exists()
    assert warnings == []


def test_verify_finds_files_that_were_added_and_artifacts_that_were_moved(store: Store) -> None:
    artifact = build(store)
    (artifact.path / "extra.bin").write_bytes(b"x")
    moved = build(store, OTHER)
    os.rename(moved.path, moved.path.with_name("0" * 64))
    found = dict(store.verify().corrupt)
    assert found[artifact.path] == "extra.bin was not published with it"
    assert found[moved.path.with_name("0" * 64)] == "its meta.json belongs to another artifact"


def test_verify_lists_what_lies_about(store: Store) -> None:
    fail_after(store, "half")
    (store.root / "trash" / "x").mkdir(parents=True)
    (store.root / "damaged" / "y").mkdir(parents=True)
    with store.claim(OTHER):
        report = store.verify()
    assert [path.name for path in report.orphaned] == [f"{SPEC.key}.work"]
    assert [(path.name, owner.split(" on ")[0]) for path, owner in report.owned] == [
        (f"{OTHER.key}.work", f"process {os.getpid()}")
    ]
    assert [path.name for path in report.trash] == ["x"]
    assert [path.name for path in report.damaged] == ["y"]
    assert len(report.lines()) == 5
    assert report.ok


def test_tidying_removes_what_nobody_will_claim_again_and_nothing_that_is_owned(store: Store) -> None:
    build(store)
    fail_after(store, "half")  # as a kill between publishing and clearing up leaves it
    with store.claim(OTHER) as work, ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(store.tidy, [SPEC, OTHER]).result()
        assert work.path.is_dir()
        assert store.verify().orphaned == ()
    assert store.find(SPEC) is not None
    assert contents(store.root / "graph") == {
        SPEC.key,
        *(f"{SPEC.key}/{name}" for name in ("meta.json", "a.bin", "deep", "deep/b.bin")),
    }


def test_what_cannot_be_read_is_not_taken_for_damage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is not there for a moment must not have a day's training moved aside."""
    artifact = build(store)

    def refuse(path: Path) -> bytes:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(StoreError, match=r"cannot read .*meta\.json: Input/output error"):
        store.find(SPEC)
    assert artifact.path.exists()


# --- names and links ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ["../x", "a/b", "", "..", "/tmp/x"])
def test_an_entry_cannot_leave_the_store(store: Store, entry: str) -> None:
    with pytest.raises(ValueError, match="an entry is named"):
        store.find(SPEC, entry)
    with store.claim(SPEC) as work:
        files.write_bytes(work.path / "out" / "a", b"x")
        with pytest.raises(ValueError, match="an entry is named"):
            work.publish("out", entry)


@pytest.mark.parametrize("source", ["../x", "/tmp", "", "a/../../x", ["../x"], ["/etc/hostname"]])
def test_only_what_lies_in_the_work_folder_can_be_published(store: Store, source: str | list[str]) -> None:
    with store.claim(SPEC) as work, pytest.raises(ValueError, match="work folder"):
        work.publish(source)


def test_links_and_nothing_are_not_published(store: Store, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    with store.claim(SPEC) as work:
        (work.path / "out").mkdir()
        with pytest.raises(ValueError, match="holds no file"):
            work.publish("out")
        (work.path / "out" / "a").symlink_to(tmp_path / "outside")
        with pytest.raises(ValueError, match="not a regular file"):
            work.publish("out")
        (work.path / "linked").symlink_to(tmp_path)
        with pytest.raises(ValueError, match="symbolic link"):
            work.publish("linked")
        with pytest.raises(ValueError, match="not a folder"):
            work.publish("absent")
    assert store.find(SPEC) is None


@pytest.mark.parametrize("part", ["graph", "key", "work"])
def test_no_link_is_followed_below_the_root(store: Store, tmp_path: Path, part: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link = {"graph": store.root / "graph", "key": store.folder(SPEC), "work": Path(f"{store.folder(SPEC)}.work")}[part]
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises(StoreError, match="is a symbolic link") as caught:
        build(store)
    assert "set store.root" in str(caught.value.hint)
    assert list(outside.iterdir()) == []


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    build(Store(tmp_path / "store"))
    assert Store(tmp_path / "disk").find(SPEC) is not None


@pytest.mark.parametrize("stage", ["refs", "cache", "damaged", "trash"])
def test_stages_do_not_collide_with_the_stores_own_folders(store: Store, stage: str) -> None:
    with pytest.raises(ValueError, match="keeps that folder for itself"):
        store.find(Spec(stage, 1, {}))


def test_nothing_is_unpickled(store: Store) -> None:
    with store.claim(SPEC) as work:
        (work.path / "out").mkdir()
        np.save(work.path / "out" / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
        artifact = work.publish("out")
    for mmap in (True, False):
        with pytest.raises(StoreError, match=r"Python objects|Object arrays"):
            artifact.read_array("x.npy", mmap=mmap)


def test_arrays_are_read_only(store: Store) -> None:
    with store.claim(SPEC) as work:
        files.write_array(work.path / "out" / "x.npy", np.zeros(3))
        artifact = work.publish("out")
    for mmap in (True, False):
        with pytest.raises(ValueError, match="read-only"):
            artifact.read_array("x.npy", mmap=mmap)[0] = 1
    with pytest.raises(KeyError, match=r"has no file 'y.npy'.*x\.npy"):
        artifact.file("y.npy")


# --- free and references --------------------------------------------------------------------------------------------


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


@pytest.fixture
def boundaries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of all changes of the disk from here on."""
    seen: list[str] = []
    monkeypatch.setattr(files, "observers", [seen.append])
    return seen


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


# --- resuming and racing --------------------------------------------------------------------------------------------


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
