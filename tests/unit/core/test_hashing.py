"""The hash is of the content, and a remembered one is never that of older content."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from rra_cli.core import hashing
from rra_cli.core.hashing import HashCache, file_hash
from rra_cli.errors import UserError


@pytest.fixture
def cache(tmp_path: Path) -> HashCache:
    return HashCache(tmp_path / "cache")


def test_the_hash_is_sha256_of_the_content(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(os.urandom((1 << 22) + 12345))  # more than one block
    seen: list[int] = []
    done = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
    assert file_hash(path, seen.append) == f"sha256:{done.stdout.split()[0]}"
    assert seen == [1 << 22, (1 << 22) + 12345]
    (tmp_path / "y.npy").write_bytes(path.read_bytes())
    assert file_hash(tmp_path / "y.npy") == file_hash(path)


def test_an_unchanged_file_is_read_once(tmp_path: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"content")
    monkeypatch.setattr(hashing, "SETTLED_NS", -(10**12))
    first = cache.hash(path)
    (tmp_path / "link").symlink_to(path)
    monkeypatch.setattr(hashing, "file_hash", lambda *_: pytest.fail("read again"))
    assert cache.hash(path) == first
    assert cache.hash(tmp_path / "link") == first


def test_any_sign_of_change_is_a_reason_to_read_again(
    tmp_path: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "SETTLED_NS", -(10**12))
    path = tmp_path / "x"
    path.write_bytes(b"content")
    before = path.stat()
    first = cache.hash(path)
    # Same size and forged time stamp: the time of the inode's change gives it away.
    time.sleep(0.02)
    path.write_bytes(b"CONTENT")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert cache.hash(path) == file_hash(path) != first
    # Replaced by another file of the same size.
    (tmp_path / "y").write_bytes(b"another")
    os.replace(tmp_path / "y", path)
    assert cache.hash(path) == file_hash(path)


def test_a_file_that_changed_just_now_is_not_remembered(tmp_path: Path, cache: HashCache) -> None:
    """Its next change might carry the same time stamp."""
    (tmp_path / "x").write_bytes(b"content")
    cache.hash(tmp_path / "x")
    assert not cache.folder.exists()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"hash": 3}'])
def test_a_broken_note_is_ignored(
    tmp_path: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setattr(hashing, "SETTLED_NS", -(10**12))
    (tmp_path / "x").write_bytes(b"content")
    wanted = cache.hash(tmp_path / "x")
    (note,) = cache.folder.iterdir()
    good = json.loads(note.read_text())
    note.write_text(content)
    assert cache.hash(tmp_path / "x") == wanted
    note.write_text(json.dumps({**good, "hash": "md5:0"}))
    assert cache.hash(tmp_path / "x") == wanted


def test_a_cache_that_cannot_be_written_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "SETTLED_NS", -(10**12))
    (tmp_path / "file").write_text("x")
    assert HashCache(tmp_path / "file" / "cache").hash(tmp_path / "file") == file_hash(tmp_path / "file")


def test_a_read_only_cache_reads_what_is_remembered_and_writes_nothing(
    tmp_path: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "SETTLED_NS", -(10**12))
    (tmp_path / "x").write_bytes(b"content")
    wanted = file_hash(tmp_path / "x")
    reader = HashCache(cache.folder, read_only=True)
    assert reader.hash(tmp_path / "x") == wanted
    assert not cache.folder.exists()
    assert cache.hash(tmp_path / "x") == wanted  # the negative control: another cache writes
    assert len(list(cache.folder.iterdir())) == 1
    monkeypatch.setattr(hashing, "file_hash", lambda *_: pytest.fail("read again"))
    assert reader.hash(tmp_path / "x") == wanted


def test_a_missing_file_is_the_users_to_mend(tmp_path: Path, cache: HashCache) -> None:
    for call in (file_hash, cache.hash):
        with pytest.raises(UserError, match=r"cannot read .*absent: No such file"):
            call(tmp_path / "absent")
    with pytest.raises(UserError, match="cannot read"):
        file_hash(tmp_path)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x" * 100)

    def grow(_: int) -> None:
        if path.stat().st_size == 100:
            with open(path, "ab") as file:
                file.write(b"more")

    with pytest.raises(UserError, match="changed while it was being read"):
        file_hash(path, grow)
