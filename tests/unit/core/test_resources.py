"""Sizes as people write them, and limits as containers set them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rra_cli.core.resources import check_disk, container_headroom, format_bytes, free_disk, free_memory, parse_bytes
from rra_cli.errors import UserError


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4 * 10**9), ("4gib", 4 * 2**30), (" 1.5 MB ", 1_500_000), ("512MiB", 512 * 2**20), ("10", 10), ("7 B", 7),
     (123, 123), ("2TB", 2 * 10**12), ("1kB", 1000), ("1KiB", 1024)],
)  # fmt: skip
def test_sizes(text: str | int, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "4 G", "4XB", "-4GB", "1e9", "4GB!", None, True, 1.5])
def test_what_is_not_a_size_is_refused_with_an_example(text: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a size; write it like 4GB, 512MiB or 1000000 \(bytes\)"):
        parse_bytes(text)


@pytest.mark.parametrize("text", [0, -1, "0GB", "0.1B"])
def test_a_size_is_at_least_a_byte(text: str | int) -> None:
    with pytest.raises(ValueError, match="at least 1 byte"):
        parse_bytes(text)


@given(st.integers(min_value=1, max_value=10**17))
def test_a_size_survives_being_shown(size: int) -> None:
    shown = format_bytes(size)
    assert abs(parse_bytes(shown) - size) <= 0.005 * size
    assert len(shown.split()[0].replace(".", "")) <= 3


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (999_999, "1.00 MB"), (12_345_678_901, "12.3 GB")],
)
def test_shown_sizes(size: int, shown: str) -> None:
    assert format_bytes(size) == shown


def group(root: Path, name: str, limit: str, used: int, cache: int, version: int) -> None:
    folder = root / name.strip("/")
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    (folder / names[0]).write_text(limit + "\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {cache}\n")


def machine(tmp_path: Path, cgroup: str) -> tuple[Path, Path]:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text(cgroup)
    return tmp_path / "proc", tmp_path / "cgroup"


def test_version_2_limits_of_the_group_and_its_parents(tmp_path: Path) -> None:
    proc, cgroups = machine(tmp_path, "0::/slurm/job_7/step_0\n")
    group(cgroups, "slurm", "max", 5000, 0, 2)
    group(cgroups, "slurm/job_7", "4000", 1000, 300, 2)
    group(cgroups, "slurm/job_7/step_0", "9000", 900, 0, 2)
    assert sorted(container_headroom(proc, cgroups)) == [4000 - 1000 + 300, 9000 - 900]
    assert free_memory(proc, cgroups) == 3300


def test_version_1_limits(tmp_path: Path) -> None:
    proc, cgroups = machine(tmp_path, "5:cpu:/x\n4:memory:/job\n0::/\n")
    group(cgroups / "memory", "", str(2**63 - 4096), 10, 0, 1)  # its way of saying "no limit"
    group(cgroups / "memory", "job", "2000", 1500, 100, 1)
    group(cgroups / "cpu", "x", "1", 1, 0, 1)
    assert container_headroom(proc, cgroups) == [600]


def test_inside_a_container_the_root_counts(tmp_path: Path) -> None:
    """The path in /proc is the host's and does not exist inside."""
    proc, cgroups = machine(tmp_path, "4:memory:/docker/abc\n")
    group(cgroups / "memory", "", "5000", 1000, 0, 1)
    assert container_headroom(proc, cgroups) == [4000]


def test_without_limits_the_machine_counts(tmp_path: Path) -> None:
    import psutil

    assert container_headroom(tmp_path, tmp_path) == []
    free = free_memory(tmp_path, tmp_path)
    assert 0.5 < free / psutil.virtual_memory().available < 2
    assert 0 < free_memory() <= psutil.virtual_memory().total


def test_free_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    statistics = os.statvfs(tmp_path)
    free = free_disk(tmp_path / "not" / "yet")
    assert abs(free - statistics.f_bavail * statistics.f_frsize) < 2 * 10**9


def test_too_small_a_disk_is_refused_with_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=3 * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    check_disk(tmp_path, 3 * 10**9)
    with pytest.raises(UserError, match=r"capture needs about 12\.3 GB, 3\.00 GB are free at .*") as caught:
        check_disk(tmp_path, 12_345_678_901, "capture")
    assert "activations.keep=until_measured" in str(caught.value.hint)
