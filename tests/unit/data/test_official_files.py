"""Data are found, fetched and verified, or one message says what is missing or damaged and what to do."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from rra_cli.core import files as core_files
from rra_cli.data import cifar10, mnist
from rra_cli.data.cifar10 import Cifar10
from rra_cli.data.dataset import ImageDataset
from rra_cli.data.idx_files import parse_idx
from rra_cli.data.mnist import Mnist
from rra_cli.data.official_files import OfficialFile, data_root, ensure_files, read_verified
from rra_cli.errors import UserError

A = OfficialFile("set/a", "md5", hashlib.md5(b"alpha").hexdigest())
B = OfficialFile("set/b", "sha256", hashlib.sha256(b"beta").hexdigest())


def good_download(folder: Path) -> None:
    (folder / "set").mkdir()
    (folder / "set" / "a").write_bytes(b"alpha")
    (folder / "set" / "b").write_bytes(b"beta")
    (folder / "set.tar.gz").write_bytes(b"the archive")


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_root_is_the_option_else_the_variable_else_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RRA_DATA", "/variable")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    monkeypatch.setenv("HOME", "/home/me")
    assert data_root("/option") == Path("/option")
    assert data_root("~/data") == Path("/home/me/data")
    assert data_root(None) == Path("/variable")
    monkeypatch.setenv("RRA_DATA", "")
    assert data_root(None) == Path("/cache/rra/data")
    monkeypatch.delenv("RRA_DATA")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data_root(None) == Path("/home/me/.cache/rra/data")


def test_a_download_leaves_the_files_and_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "new" / "root"
    ensure_files("Set", root, [A], good_download, [A, B])
    assert files_below(root) == ["set", "set/a", "set/b"]
    assert read_verified(root, A) == b"alpha"


def test_what_is_there_is_not_fetched_and_not_replaced(tmp_path: Path) -> None:
    def never(folder: Path) -> None:
        raise AssertionError("fetched")

    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a").write_bytes(b"my own")
    ensure_files("Set", tmp_path, [A], never, [A, B])
    ensure_files("Set", tmp_path, [A, B], good_download, [A, B])  # b is missing
    assert (tmp_path / "set" / "a").read_bytes() == b"my own"
    assert (tmp_path / "set" / "b").read_bytes() == b"beta"


def half_then_fail(error: BaseException) -> Callable[[Path], None]:
    def download(folder: Path) -> None:
        good_download(folder)
        raise error

    return download


def damaged_download(folder: Path) -> None:
    good_download(folder)
    (folder / "set" / "b").write_bytes(b"bet")


@pytest.mark.parametrize(
    ("download", "reason"),
    [
        (half_then_fail(URLError("name resolution")), r"the download failed \(<urlopen error name resolution>\)"),
        (half_then_fail(RuntimeError("File not found\nor corrupted.")), r"failed \(File not found or corrupted.\)"),
        (half_then_fail(OSError(28, "No space left on device")), r"failed \(\[Errno 28\] No space left on device\)"),
        (half_then_fail(TimeoutError()), r"the download failed \(TimeoutError\)"),
        (None, "dataset.download is false"),
    ],
)
def test_a_failed_download_leaves_nothing_and_says_what_to_do(
    tmp_path: Path, download: Callable[[Path], None] | None, reason: str
) -> None:
    root = tmp_path / "new" / "root"
    with pytest.raises(UserError, match=rf"Set is not complete in {root}: missing set/a, set/b; .*{reason}") as caught:
        ensure_files("Set", root, [A, B], download, [A, B])
    assert caught.value.hint is not None
    for way in ("put the files there", "RRA_DATA=FOLDER", "dataset.root=FOLDER", "dataset.download=true"):
        assert way in caught.value.hint
    assert files_below(tmp_path) == []


def test_a_damaged_download_is_not_moved_in(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="damaged or not the official file: expected sha256"):
        ensure_files("Set", tmp_path, [A, B], damaged_download, [A, B])
    assert files_below(tmp_path) == []


def test_an_interrupted_download_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with pytest.raises(KeyboardInterrupt):
        ensure_files("Set", root, [A], half_then_fail(KeyboardInterrupt()), [A, B])
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("place", ["set/a: flushed", "set/a: renamed", "set/b: flushed", "set/b: renamed"])
def test_stopped_at_any_rename_the_next_run_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def stop(name: str) -> None:
        if name == f"data {place}":
            raise KeyboardInterrupt

    monkeypatch.setattr(core_files, "observers", [stop])
    with pytest.raises(KeyboardInterrupt):
        ensure_files("Set", tmp_path, [A, B], good_download, [A, B])
    for name, content in (("a", b"alpha"), ("b", b"beta")):
        path = tmp_path / "set" / name
        assert not path.exists() or path.read_bytes() == content
    monkeypatch.setattr(core_files, "observers", [])
    ensure_files("Set", tmp_path, [A, B], good_download, [A, B])
    assert files_below(tmp_path) == ["set", "set/a", "set/b"]


def test_a_root_that_cannot_be_made_is_the_same_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"missing set/a; the download failed \(\[Errno 20\] Not a directory"):
        ensure_files("Set", tmp_path / "file" / "root", [A], good_download, [A, B])


@pytest.mark.parametrize("cls", [Mnist, Cifar10])
def test_without_a_network_the_message_names_every_missing_file(cls: type[ImageDataset], tmp_path: Path) -> None:
    # The real download by torchvision, with the sockets refused.
    with pytest.raises(UserError, match="the download failed") as caught:
        cls(root=str(tmp_path / "data")).load("train")
    names = {"mnist": mnist.FILES[:2], "cifar10": cifar10.BATCHES["train"]}[cls.name]
    assert all(file.path in caught.value.message for file in names)
    assert "no network in tests" in caught.value.message
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("cls", [Mnist, Cifar10])
def test_download_false_never_tries(cls: type[ImageDataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(folder: Path) -> None:
        raise AssertionError("tried to download")

    monkeypatch.setattr(mnist, "download_mnist", never)
    monkeypatch.setattr(cifar10, "download_cifar10", never)
    with pytest.raises(UserError, match="download is false"):
        cls(root=str(tmp_path / "nowhere"), download=False).load("test")
    assert cls(root=str(tmp_path / "nowhere")).checksums() == {}


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.trace,))


def test_a_cifar_batch_that_is_not_the_official_one_is_never_opened(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    content = pickle.dumps(Bomb(trace))
    (folder / "test_batch").write_bytes(content)
    with pytest.raises(UserError) as caught:
        Cifar10(root=str(tmp_path), download=False).load("test")
    assert caught.value.message == (
        f"{folder / 'test_batch'} is damaged or not the official file: expected md5 40351d587109b95175f43aff81a1287e, "
        f"found {hashlib.md5(content).hexdigest()} ({len(content)} bytes)"
    )
    assert caught.value.hint is not None
    assert "delete it and run again with dataset.download=true" in caught.value.hint
    assert not trace.exists()
    pickle.loads(content)  # negative control: opened, it would have run
    assert trace.exists()


def test_a_file_that_cannot_be_read_is_the_users_fault(tmp_path: Path) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_verified(tmp_path, A)


def idx(shape: tuple[int, ...], payload: int, kind: int = 8) -> bytes:
    header = bytes([0, 0, kind, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    return header + bytes(range(payload))


def test_an_idx_file_is_read_as_its_header_says() -> None:
    assert parse_idx(idx((2, 3), 6), (2, 3), Path("f")).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "content",
    [
        idx((2, 3), 5),
        idx((2, 3), 7),
        idx((3, 2), 6),
        idx((6,), 6),
        idx((2, 3), 6, kind=9),
        b"",
        b"\x1f\x8b" + idx((2, 3), 6),
    ],
    ids=["short", "long", "other shape", "other dimensions", "other type", "empty", "packed"],
)
def test_an_idx_file_with_any_other_header_or_length_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match=r"f is not the idx file that was expected: header 00000802\w+ .* 18 bytes"):
        parse_idx(content, (2, 3), Path("f"))


def test_a_damaged_idx_file_is_refused(real_root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for file in (mnist.IMAGES["test"], mnist.LABELS["test"]):
        shutil.copyfile(real_root / file.path, tmp_path / file.path)
    assert len(Mnist(root=str(tmp_path), download=False).load("test")) == 10_000  # the other split is not needed
    labels = tmp_path / mnist.LABELS["test"].path
    content = bytearray(labels.read_bytes())
    content[100] ^= 1  # one bit
    labels.write_bytes(content)
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte is damaged .*expected sha256 ff7bcf\w+, found \w+"):
        Mnist(root=str(tmp_path), download=False).load("test")
    assert np.unique(content[8:]).max() == 9


@pytest.mark.parametrize("kind", ["a pipe", "a device", "huge"])
def test_what_is_no_file_of_that_size_is_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        path.touch()
        os.truncate(path, 10**12)
    with pytest.raises(UserError, match=r"is not the official file: it (is not a regular file|has 1\.00 TB)"):
        read_verified(tmp_path, OfficialFile("x", "md5", "0" * 32))
