"""A store that somebody tampered with: nothing outside of it is read or written, and it is said what is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rra_cli.core import files
from rra_cli.core import store as store_module
from rra_cli.core.artifact import Artifact, StoreError
from rra_cli.core.hashing import HashCache
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.errors import UserError

SPEC = Spec("graph", 1, {"n": 1})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", stale_after=1, warn=lambda message: None)


def build(store: Store) -> Artifact:
    with store.claim(SPEC) as work:
        files.write_bytes(work.path / "out" / "a.bin", b"0123456789")
        return work.publish("out")


def changed(artifact: Artifact, change: Callable[[dict[str, Any]], object]) -> None:
    meta = json.loads((artifact.path / "meta.json").read_text())
    change(meta)
    (artifact.path / "meta.json").write_text(json.dumps(meta))


NAMES = ["../../../secret", "/etc/hostname", "a/../../x", ".", "..", "", "a//b", "./a.bin", "a.bin/", "x\0y"]
NAMES += ["x" * 256, "x/" * 3000 + "x", "a.bin/x", "\ud800", "\x1b[2J"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leads_elsewhere_is_damage(store: Store, name: str) -> None:
    artifact = build(store)
    changed(artifact, lambda meta: meta["files"].update({name: meta["files"].pop("a.bin")}))
    assert len(store.verify().corrupt) == 1
    assert store.find(SPEC) is None
    assert build(store).read_bytes("a.bin") == b"0123456789"


@pytest.mark.parametrize(
    "change",
    [
        lambda meta: meta.update(files=[]),
        lambda meta: meta.update(files={"a.bin": {"size": True, "sha256": "0" * 64}}),
        lambda meta: meta.update(files={"a.bin": {"size": -1, "sha256": "0" * 64}}),
        lambda meta: meta.update(files={"a.bin": {"size": 10, "sha256": 5}}),
        lambda meta: meta.update(details=[1]),
        lambda meta: meta.update(spec=None),
        lambda meta: meta["spec"].update(stage="../x"),
        lambda meta: meta["spec"].update(upstream=["../x"]),
        lambda meta: meta["spec"].update(version="1"),
        lambda meta: meta["spec"].update(identity={"n": float("nan")}),
        lambda meta: meta.pop("entry"),
        lambda meta: meta.update(entry=5),
    ],
)
def test_a_record_that_is_none_is_damage(store: Store, change: Callable[[dict[str, Any]], object]) -> None:
    changed(build(store), change)
    assert len(store.verify().corrupt) == 1
    assert store.find(SPEC) is None


@pytest.mark.parametrize("entry", ["../../x", "", "a/b", "\ud800"])
def test_an_entry_that_leads_elsewhere_is_another_artifact(store: Store, entry: object) -> None:
    changed(build(store), lambda meta: meta.update(entry=entry))
    assert len(store.verify().corrupt) == 1
    with pytest.raises(StoreError, match="is the result of something else"):
        store.find(SPEC)


def test_an_artifact_of_another_format_is_left_alone_and_named(store: Store) -> None:
    """A later version's store is not damage: moving its results aside would cost somebody a week."""
    artifact = build(store)
    changed(artifact, lambda meta: meta.update(format=2, package="9.9"))
    with pytest.raises(StoreError, match=r"was written by rra 9\.9 in format 2; this rra reads") as caught:
        store.find(SPEC)
    assert "use that version, or set store.root" in str(caught.value.hint)
    assert artifact.path.exists()
    ((path, what),) = store.verify().corrupt
    assert path == artifact.path
    assert "format 2" in what


def test_an_artifact_of_an_earlier_version_without_format_and_sum_is_read(store: Store) -> None:
    changed(build(store), lambda meta: (meta.pop("format"), meta.pop("sum")))
    assert store.find(SPEC) is not None


def test_a_record_that_is_a_link_a_pipe_or_endless_is_damage(store: Store, tmp_path: Path) -> None:
    def link(path: Path) -> None:
        os.rename(path, tmp_path / "elsewhere.json")
        path.symlink_to(tmp_path / "elsewhere.json")

    def pipe(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    def device(path: Path) -> None:
        path.unlink()
        path.symlink_to("/dev/zero")

    def brackets(path: Path) -> None:
        path.write_text("[" * 200_000)

    def huge(path: Path) -> None:
        os.truncate(path, 10**12)

    for spoil in (link, pipe, device, brackets, huge):
        spoil(build(store).path / "meta.json")
        assert len(store.verify().corrupt) == 1, spoil
        assert store.find(SPEC) is None
        for path in (store.root / "damaged").glob("*/meta.json"):
            path.unlink()


def test_a_forged_file_of_an_artifact_is_named(store: Store) -> None:
    """Whoever can write into a store can write checksums: what then cannot be read is nobody's accident."""
    hostile = np.lib.format.magic(1, 0) + (9000).to_bytes(2, "little") + b"-" * 9000
    contents = {"a.json": b"[" * 10**5, "b.json": b"\xff", "x.npy": hostile, "y.npy": b"", "z.npy": b"\x80\x04."}
    with store.claim(SPEC) as work:
        for name, content in contents.items():
            files.write_bytes(work.path / "out" / name, content)
        artifact = work.publish("out")
    for name in contents:
        read = artifact.read_array if name.endswith(".npy") else artifact.read_json
        with pytest.raises(StoreError, match=f"{name} is not what rra writes") as caught:
            read(name)
        assert "remove its folder (it is built again)" in str(caught.value.hint)
    assert store.verify().ok


@pytest.mark.parametrize("place", ["", "/layer", "/layer/rows.npy"])
def test_unfinished_work_is_not_gone_on_with_behind_a_link(store: Store, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with pytest.raises(KeyboardInterrupt), store.claim(SPEC) as work:  # noqa: PT012
        files.write_bytes(work.path / "layer" / "rows.npy", b"half")
        raise KeyboardInterrupt
    link = Path(f"{work.path}{place}")
    files.remove(link)
    link.symlink_to(outside)
    with store.claim(SPEC) as work:
        with pytest.raises(FileNotFoundError):
            (work.path / "layer" / "rows.npy").read_bytes()
        files.write_bytes(work.path / "layer" / "rows.npy", b"whole")
    assert list(outside.iterdir()) == []


def test_a_lease_that_is_a_link_is_refused(store: Store, tmp_path: Path) -> None:
    (folder := store.folder(SPEC).with_name(f"{SPEC.key}.work")).mkdir(parents=True)
    (folder / "lease").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="lease is a symbolic link"), store.claim(SPEC):
        pass


def test_a_link_to_a_folder_was_not_published(store: Store, tmp_path: Path) -> None:
    (build(store).path / "more").symlink_to(tmp_path)
    ((_, what),) = store.verify().corrupt
    assert what == "more was not published with it"


def test_two_who_find_the_same_damage_lose_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one moves it aside between the look and the move."""
    artifact = build(store)
    os.truncate(artifact.path / "a.bin", 3)
    look = store_module._holds_files

    def slow(folder: Path) -> bool:
        monkeypatch.setattr(store_module, "_holds_files", look)
        assert Store(store.root, warn=lambda message: None).find(SPEC) is None
        return look(folder)

    monkeypatch.setattr(store_module, "_holds_files", slow)
    assert store.find(SPEC) is None
    assert len(list((store.root / "damaged").iterdir())) == 1


def test_notes_that_are_folders_stop_gc_and_no_run(store: Store, tmp_path: Path) -> None:
    store.refer("mine", tmp_path, [SPEC])
    (store.root / "refs" / "removing").mkdir()
    store.refer("mine", tmp_path, [SPEC])
    (store.root / "refs" / "other.json").mkdir()
    with pytest.raises(StoreError, match=r"other\.json is unreadable"):
        store.references()


def test_a_run_does_not_begin_where_it_cannot_read_what_gc_removes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("rra_cli.core.announcement.read_json", refuse)
    with pytest.raises(UserError, match=r"cannot read .*removing: Permission denied"):
        store.refer("mine", tmp_path, [SPEC])


@pytest.mark.parametrize("folder", ["damaged", "trash", "refs", "cache"])
def test_nothing_is_written_through_a_link(store: Store, tmp_path: Path, folder: str) -> None:
    artifact, outside = build(store), tmp_path / "outside"
    outside.mkdir()
    files.remove(store.root / folder)
    (store.root / folder).symlink_to(outside)
    os.truncate(artifact.path / "a.bin", 1)
    use: dict[str, Callable[[], object]] = {
        "damaged": lambda: store.find(SPEC),
        "trash": lambda: store.free(SPEC),
        "refs": lambda: store.refer("run", tmp_path, [SPEC]),
        "cache": lambda: store.cache("plots"),
    }
    with pytest.raises(StoreError, match=f"{folder} is a symbolic link"):
        use[folder]()
    assert list(outside.iterdir()) == []


def test_hashes_are_not_remembered_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "cache").symlink_to(tmp_path / "outside")
    path = tmp_path / "x"
    path.write_bytes(b"content")
    os.utime(path, ns=(0, 0))
    cache = HashCache(tmp_path / "store" / "cache" / "hashes")
    assert cache.hash(path).startswith("sha256:ed7002b439e9ac845f22357d822bac14")
    assert list((tmp_path / "outside").iterdir()) == []
