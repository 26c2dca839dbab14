"""What is published is found by an equal spec, by no other, and under no name that leads elsewhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from store_building import OTHER, SPEC, build, contents

from rra_cli.core import files
from rra_cli.core.artifact import StoreError
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store


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
