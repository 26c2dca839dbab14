"""A reader sees the old content, the new content or nothing, whenever the writer dies."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rra_cli.core import files
from rra_cli.errors import UserError


def test_a_write_killed_anywhere_leaves_old_or_new(kill_everywhere: Callable[[str], int]) -> None:
    kills = kill_everywhere("""
        OLD, NEW = b"old" * 1000, b"new!" * 100000
        def prepare(root):
            root.mkdir()
            (root / "table.csv").write_bytes(OLD)
        def scenario(root):
            files.write_bytes(root / "table.csv", NEW)
            files.write_json(root / "fresh" / "status.json", {"state": "done"})
        def check(root, names):
            content = (root / "table.csv").read_bytes()
            assert content == (NEW if "write table.csv: renamed" in names else OLD)
            fresh = root / "fresh" / "status.json"
            assert not fresh.exists() or fresh.read_text() == '{\\n  "state": "done"\\n}\\n'
            others = {path.name for path in root.rglob("*") if path.is_file()} - {"table.csv", "status.json"}
            assert all(name.startswith(files.LEFTOVER) for name in others)
            files.remove_leftovers(root)
            assert {path.name for path in root.rglob("*") if path.is_file()} <= {"table.csv", "status.json"}
    """)
    assert kills == 8  # begin, written, flushed, renamed; twice


def test_the_harness_sees_a_write_that_is_not_atomic(kill_everywhere: Callable[[str], int]) -> None:
    """Negative control: writing in place is caught."""
    with pytest.raises(AssertionError, match="boundary 1"):
        kill_everywhere("""
            def prepare(root):
                root.write_bytes(b"old")
            def scenario(root):
                with open(root, "wb") as file:
                    files.boundary("truncated")
                    file.write(b"new")
            def check(root, names):
                assert root.read_bytes() in (b"old", b"new")
        """)


def test_a_folder_is_published_whole_or_not_at_all(kill_everywhere: Callable[[str], int]) -> None:
    kills = kill_everywhere("""
        def prepare(root):
            (root / "work" / "deep").mkdir(parents=True)
            for number in range(5):
                (root / "work" / "deep" / f"{number}.bin").write_bytes(bytes(1000))
        def scenario(root):
            files.publish_folder(root / "work", root / "stage" / "key")
        def check(root, names):
            target = root / "stage" / "key"
            if target.exists():
                assert len(list((target / "deep").iterdir())) == 5 and not (root / "work").exists()
            else:
                assert len(list((root / "work" / "deep").iterdir())) == 5
    """)
    assert kills == 2


def test_publishing_never_replaces_a_folder_with_content(tmp_path: Path) -> None:
    for name in ("source", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    with pytest.raises(FileExistsError):
        files.publish_folder(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "target"
    assert (tmp_path / "source" / "file").read_text() == "source"


def test_a_body_that_raises_changes_nothing(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.txt", "before")

    def fail() -> None:
        with files.replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert (tmp_path / "a.txt").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_the_temporary_path_keeps_the_suffix_and_the_folder(tmp_path: Path) -> None:
    with files.replacing(tmp_path / "curve.svg") as temporary:
        assert temporary.suffix == ".svg"
        assert temporary.parent == tmp_path
        temporary.write_text("<svg/>")


def test_arrays_round_trip_and_objects_are_refused(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float16).reshape(2, 3)
    files.write_array(tmp_path / "a.npy", array)
    loaded = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert loaded.dtype == array.dtype
    assert np.array_equal(loaded, array)
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        files.write_array(tmp_path / "b.npy", np.array([{}], dtype=object))
    assert not (tmp_path / "b.npy").exists()


def test_json_refuses_what_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "a.json", {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_new_files_have_the_permissions_that_the_user_asked_for(tmp_path: Path) -> None:
    """A shared store needs the umask, not the 0600 of temporary files."""
    mask = os.umask(0o027)
    try:
        files.write_text(tmp_path / "a", "x")
    finally:
        os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, r"disk full: could not write .*a\.bin \(.* free there\)"),
        (errno.EDQUOT, "disk quota used up"),
        (errno.EFBIG, "file too large: could not write .*the file system or `ulimit -f` allows no more"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EPERM, "permission denied"),
    ],
)
def test_a_disk_that_refuses_is_the_users_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    files.write_bytes(tmp_path / "a.bin", b"before")

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError, match=message) as caught:
        files.write_bytes(tmp_path / "a.bin", b"after")
    assert "store.root" in str(caught.value.hint)
    assert (tmp_path / "a.bin").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_the_size_needed_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"12\.0 GB needed"), files.explained(tmp_path, needed=12 * 10**9):
        raise OSError(errno.ENOSPC, "full")


def test_other_faults_are_not_blamed_on_the_user(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="input/output") as caught, files.explained(tmp_path):
        raise OSError(errno.EIO, "input/output error")
    assert not isinstance(caught.value, UserError)


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file")
    for path in (tmp_path / "outputs" / "x", tmp_path / "outputs"):
        with pytest.raises(UserError, match="a file lies where a folder is needed"):
            files.make_folder(path)


@pytest.mark.skipif(not Path("/sys/kernel").exists(), reason="needs a kernel folder in which nobody may create files")
def test_a_folder_in_which_nobody_may_write() -> None:
    with pytest.raises(UserError, match="cannot write /sys/kernel/rra"):
        files.make_folder(Path("/sys/kernel/rra"))


def test_a_folder_that_cannot_exist_is_the_users_to_move(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (tmp_path / ("x" * 1000), loop / "x"):
        with pytest.raises(UserError, match="cannot create the folder") as caught:
            files.make_folder(path)
        assert "store.root" in str(caught.value.hint)
    for name in ("a\0b", "\ud800"):
        with pytest.raises(UserError, match="no folder can be called"):
            files.make_folder(tmp_path / name)
    assert files.make_folder(tmp_path / "x").is_dir()
