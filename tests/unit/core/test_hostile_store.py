"""A store that somebody tampered with: nothing outside of it is read or written, and it is said what is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rra_cli.core import files
from rra_cli.core.artifact import Artifact, StoreError
from rra_cli.core.hashing import HashCache
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store

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


def test_an_artifact_of_an_earlier_version_without_a_format_is_read(store: Store) -> None:
    changed(build(store), lambda meta: meta.pop("format"))
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
