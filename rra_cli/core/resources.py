"""How much memory and disk there is, and sizes as people write them."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from rra_cli.errors import UserError

# Set by a launcher for jobs that run at the same time on one machine: how many they are.
SHARERS = "RRA_JOBS_AT_A_TIME"
# What the numerical libraries read their number of threads from, once, when they are imported.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_UNITS = {
    "": 1,
    "b": 1,
    **{f"{prefix}b": 1000 ** (power + 1) for power, prefix in enumerate("kmgtp")},
    **{f"{prefix}ib": 1024 ** (power + 1) for power, prefix in enumerate("kmgtp")},
}


def parse_bytes(text: str | int) -> int:
    """Bytes in "4GB" (10^9), "512 MiB" (2^20) or a plain number; at least 1.

    Raises ValueError that says what is understood (the binder of the configuration shows it with the key).
    """
    if isinstance(text, int) and not isinstance(text, bool):
        size = text
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-zA-Z]*)\s*", text) if isinstance(text, str) else None
        unit = _UNITS.get(match[2].lower()) if match else None
        if match is None or unit is None:
            raise ValueError(f"{text!r} is not a size; write it like 4GB, 512MiB or 1000000 (bytes)")
        size = int(float(match[1]) * unit)
    if size < 1:
        raise ValueError(f"a size must be at least 1 byte, got {text!r}")
    return size


def format_bytes(size: float) -> str:
    """The size in decimal units with three significant figures: "999 B", "1.50 kB", "12.3 GB"."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size) < 999.5:
            digits = 0 if unit == "B" or abs(size) >= 99.95 else 1 if abs(size) >= 9.995 else 2
            return f"{size:.{digits}f} {unit}"
        size /= 1000
    return f"{size:.3g} PB"


def free_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process can still take: what the machine has available, or a container's or SLURM's limit leaves.

    Of jobs that a launcher runs side by side, each may take its share.
    """
    import psutil

    limits = [*container_headroom(proc, cgroups), *slurm_headroom()]
    free = max(0, min([int(psutil.virtual_memory().available), *limits]))
    sharers = os.environ.get(SHARERS, "")
    return free // max(1, int(sharers) if sharers.isdecimal() else 1)


def container_headroom(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """For every memory limit of this process's control groups (version 1 and 2): limit - used without page cache."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            roots, names = [cgroups, cgroups / "unified"], ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            roots = [cgroups / "memory"]
        else:
            continue
        for root in roots:
            folder = root / group.strip("/")
            # A limit may sit on any parent. Inside a container the path named may not exist: its own root then counts.
            for level in [folder, *folder.parents]:
                headroom = _headroom(level, *names)
                if headroom is not None:
                    found.append(headroom)
                if level == root:
                    break
    return found


def slurm_headroom() -> list[int]:
    """What a SLURM job around this process leaves of the memory that it was given; not every cluster enforces it by
    control groups, but most end a job that takes more. Empty outside of a job, or where it was given the whole node.
    """
    import psutil

    def number(name: str) -> int:
        text = os.environ.get(name, "")
        return int(text) if text.isdecimal() else 0

    per_node, per_cpu = number("SLURM_MEM_PER_NODE"), number("SLURM_MEM_PER_CPU") * number("SLURM_CPUS_ON_NODE")
    given = (per_node or per_cpu) << 20
    return [max(0, given - psutil.Process().memory_info().rss)] if given else []


def _headroom(folder: Path, limit_name: str, used_name: str, cache_name: str) -> int | None:
    try:
        limit = (folder / limit_name).read_text().strip()
        used = int((folder / used_name).read_text())
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    # Version 1 writes "no limit" as a number near 2^63.
    if limit == "max" or int(limit) >= 1 << 60:
        return None
    return max(0, int(limit) - used + int(statistics.get(cache_name, "0")))


def free_disk(path: Path) -> int:
    """Bytes that may still be written where `path` lies or will lie (quotas are not seen)."""
    path = Path(path).absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def check_disk(path: Path, needed: int, what: str = "this run") -> None:
    """Raises `UserError` with the numbers where fewer than `needed` bytes are free at `path`."""
    free = free_disk(path)
    if needed > free:
        raise UserError(
            f"not enough disk: {what} needs about {format_bytes(needed)}, {format_bytes(free)} are free at {path}",
            "free something there, point store.root (or RRA_OUTPUTS) to a larger disk, "
            "or use activations.keep=until_measured, activations.dtype=float16 or a smaller dataset.n_samples",
        )
