"""Damage is noticed, moved aside and built again; whoever asks is told what lies about."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from store_building import OTHER, SPEC, build, contents, fail_after

from rra_cli.core import files
from rra_cli.core import store as store_module
from rra_cli.core.artifact import StoreError
from rra_cli.core.store import Store


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
