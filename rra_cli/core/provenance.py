"""Where a result came from: code, packages, machine, seeds and data."""

from __future__ import annotations

import os
import platform
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import rra_cli
from rra_cli.core.resources import container_headroom

# Named one by one: an environment holds secrets.
SLURM = (
    "SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT",
    "SLURM_CLUSTER_NAME", "SLURM_JOB_PARTITION", "SLURM_JOB_NODELIST", "SLURM_NODEID", "SLURM_PROCID",
    "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_CPUS_PER_TASK", "SLURM_MEM_PER_NODE", "SLURM_SUBMIT_HOST",
    "SLURM_JOB_GPUS", "SLURM_GPUS_ON_NODE",
)  # fmt: skip
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
# What moves our folders, and how jobs of a sweep share a machine.
OURS = ("RRA_OUTPUTS", "RRA_DATA", "RRA_SWEEP", "RRA_JOBS_AT_A_TIME")
# Of all packages, those that may change a result.
DECISIVE = (
    "rra", "torch", "torchvision", "numpy", "scipy", "scikit-learn", "numba", "pynndescent", "pillow", "pandas",
)  # fmt: skip


def provenance(
    *, seeds: Mapping[str, int], checksums: Mapping[str, str], argv: list[str] | None = None, cwd: Path | None = None
) -> dict[str, Any]:
    """Everything that is needed to say how a result was made, as plain JSON.

    seeds: by name. checksums: of the data, "file" -> "sha256:...".
    argv: defaults to the command as it was typed, cwd to the working directory.
    """
    words, folder = list(sys.orig_argv if argv is None else argv), Path.cwd() if cwd is None else cwd
    return {
        "argv": words,
        "command": command_line(words),
        "cwd": str(folder),
        "environment": {name: os.environ[name] for name in OURS if name in os.environ},
        "git": {
            "working_directory": git_state(folder),
            "package": package_git_state(),
        },
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "packages": packages(),
        "hardware": hardware(),
        "seeds": dict(seeds),
        "data": dict(checksums),
        "slurm": {name: os.environ[name] for name in SLURM if name in os.environ},
    }


def command_line(argv: Sequence[str]) -> str:
    """A command for the shell that does the same, as a person would type it."""
    words = list(argv)
    if len(words) > 1 and Path(words[1]).name == "rra":
        words = ["rra", *words[2:]]  # the interpreter that the installed script names
    return shlex.join(words)


def changes_since(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In what two records differ that may change a result, a line each: code, packages, Python, processor, threads."""
    places = {
        "Python": ("python", "version"),
        **{name: ("packages", name) for name in DECISIVE},
        "commit of rra": ("git", "package", "commit"),
        "processor": ("hardware", "cpu"),
        "GPUs": ("hardware", "gpus"),
        "threads": ("hardware", "torch_threads"),
    }
    lines = []
    for name, path in places.items():
        before, after = _at(then, path), _at(now, path)
        # What torch sees is not asked for where it is not loaded.
        if before != after and not (name in ("GPUs", "threads") and None in (before, after)):
            lines.append(f"{name}: {_shown(before)} then, {_shown(after)} now")
    changed = [_at(record, ("git", "package", "changed")) for record in (then, now)]
    counts = [len(files) if isinstance(files, list) else 0 for files in changed]
    if any(counts):
        lines.append(f"uncommitted changes of rra, whose content is not recorded: {counts[0]} then, {counts[1]} now")
    return lines


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit, branch and changed files of the repository that `folder` lies in; None where there is none."""
    root = _git(folder, "rev-parse", "--show-toplevel")
    if root is None:
        return None
    status = None if _filters(folder) else _git(folder, "status", "--porcelain", "--untracked-files=normal")
    changed = [] if status is None else status.splitlines()
    return {
        "root": root.rstrip("\n"),
        "commit": _line(_git(folder, "rev-parse", "HEAD")),
        "branch": _line(_git(folder, "rev-parse", "--abbrev-ref", "HEAD")),
        "dirty": None if status is None else bool(changed),
        "changed": changed[:100],
    }


def package_git_state() -> dict[str, Any] | None:
    """The same of this package's own repository; None where it is installed from a wheel."""
    source = Path(rra_cli.__file__).resolve()
    # A virtual environment often lies inside somebody else's repository, which does not track it.
    if _git(source.parent, "ls-files", "--error-unmatch", source.name) is None:
        return None
    return git_state(source.parent)


def packages() -> dict[str, str]:
    """Name and version of every installed distribution, in name order."""
    found = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found[name.lower().replace("_", "-")] = distribution.version
    return dict(sorted(found.items()))


def hardware() -> dict[str, Any]:
    """Host, processor, cores, threads, memory and GPUs."""
    import psutil

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # What libraries were really told counts; torch is asked only where the run needed it anyway.
    torch = sys.modules.get("torch")
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "usable_cores": usable,
        "torch_threads": None if torch is None else torch.get_num_threads(),
        "environment": {name: os.environ[name] for name in THREADS if name in os.environ},
        "memory_bytes": psutil.virtual_memory().total,
        "memory_limits_free_bytes": container_headroom(),
        "gpus": gpus(),
        "gpu_driver": gpu_driver(),
    }


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as its maker writes it."""
    try:
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model"):
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpus(driver: Path = Path("/proc/driver/nvidia/gpus")) -> list[dict[str, Any]]:
    """Name, memory and compute capability of every GPU that torch sees; names alone where torch is not loaded."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        return [
            {
                "name": device.name,
                "memory_bytes": device.total_memory,
                "capability": f"{device.major}.{device.minor}",
                "cuda": torch.version.cuda,
            }
            for device in found
        ]
    names = []
    for information in sorted(driver.glob("*/information")):
        fields = dict(line.split(":", 1) for line in information.read_text().splitlines() if ":" in line)
        names.append({"name": fields.get("Model", "unknown").strip()})
    return names


def gpu_driver(version: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    """What the NVIDIA driver says of itself; None where there is none."""
    try:
        return version.read_text().splitlines()[0].strip()
    except (OSError, IndexError, UnicodeDecodeError):
        return None


def _at(record: Any, path: Sequence[str]) -> Any:
    for name in path:
        record = record.get(name) if isinstance(record, Mapping) else None
    return record


def _shown(value: Any) -> str:
    items = value if isinstance(value, list) else [] if value is None else [value]
    return ", ".join(str(item.get("name", item) if isinstance(item, Mapping) else item) for item in items) or "none"


def _git(folder: Path, *arguments: str) -> str | None:
    """git's answer; None where git or a repository is missing, or git refuses."""
    # A repository's own configuration may name programs to run: not from here.
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *arguments]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, env=environment, check=False)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout if done.returncode == 0 else None


def _filters(folder: Path) -> bool:
    """Whether the repository itself, and not its user, names programs that `git status` would run on changed files."""
    pattern = r"^filter\..*\.(clean|process)$"
    found = _git(folder, "config", "--show-scope", "--name-only", "--get-regexp", pattern) or ""
    return any(line.split("\t")[0] not in ("system", "global", "command") for line in found.splitlines())


def _line(text: str | None) -> str | None:
    return None if text is None else text.strip()
