"""The fields of `hydra/launcher=slurm`, checked, and what sbatch is told by them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from rra_cli.core.resources import parse_bytes
from rra_cli.errors import ConfigError, did_you_mean

HINT = "`rra doctor` shows what SLURM offers; docs/sweeps.md lists the settings"

_NAME = re.compile(r"[\w.@+][\w.@+,-]{0,199}")
_TIME = re.compile(r"(?:(?P<days>\d{1,4})-)?(?P<first>\d{1,6})(?::(?P<second>\d{1,2}))?(?::(?P<third>\d{1,2}))?")


@dataclass(frozen=True)
class Settings:
    """How the jobs of a sweep are submitted. None leaves it to the cluster. time: seconds; memory: bytes of a node;
    gpus: of a node, a number or `TYPE:NUMBER`; signal: seconds before the end of the time; ranks: processes of a job.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    time: int | None = None
    nodes: int = 1
    gpus: str | None = None
    cpus: int | None = None
    memory: int | None = None
    array_parallelism: int | None = None
    signal: int = 120
    requeue: bool = True
    wait: bool = True
    ranks: int = 1

    def options(self) -> list[str]:
        """What sbatch is told, one `--option=value` each: no value can become an option or a command."""
        given: dict[str, object] = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "exclude": self.exclude,
            "time": None if self.time is None else -(-self.time // 60),  # SLURM counts minutes
            "nodes": self.nodes,
            "ntasks-per-node": self.ranks // self.nodes,
            "gres": None if self.gpus is None else f"gpu:{self.gpus}",
            "cpus-per-task": self.cpus,
            "mem": None if self.memory is None else f"{-(-self.memory // 2**20)}M",
            "signal": f"USR2@{self.signal}",
        }
        said = [f"--{name}={value}" for name, value in given.items() if value is not None]
        return [*said, "--requeue" if self.requeue else "--no-requeue"]


def settings_of(
    given: Mapping[str, Any], *, ranks: int = 1, threads: int | None = None, gpus_per_job: float | None = None
) -> Settings:
    """The settings that the launcher's fields give.

    ranks: of method.ranks; threads, gpus_per_job: of runtime, which stand in for cpus and gpus where those are not
    given. Raises `ConfigError` with all faults, a line each.
    """
    faults: list[str] = []
    values: dict[str, Any] = {"ranks": ranks}
    known = [field.name for field in fields(Settings) if field.name != "ranks"]
    for key, value in given.items():
        if key not in known:
            faults.append(f"hydra.launcher.{key}: there is no such setting; {did_you_mean(key, known)}")
        elif value is not None:
            try:
                values[key] = _CHECKS[key](value)
            except ValueError as error:
                faults.append(f"hydra.launcher.{key}: {error}, got {value!r}")
    if faults:
        raise ConfigError(faults, HINT)
    if threads is not None:
        values.setdefault("cpus", threads)
    if gpus_per_job is not None:
        values.setdefault("gpus", str(max(1, int(gpus_per_job))))  # SLURM shares out whole ones
    settings = Settings(**values)
    if ranks % settings.nodes:
        faults.append(
            f"hydra.launcher.nodes: method.ranks={ranks} is not the same number of processes on each of "
            f"{settings.nodes} nodes"
        )
    if settings.time is not None and settings.signal >= settings.time:
        faults.append(
            f"hydra.launcher.signal: jobs would be told to save {settings.signal} s before the end of {settings.time} s"
        )
    if faults:
        raise ConfigError(faults, HINT)
    return settings


def seconds(value: Any) -> int:
    """SLURM's words for a time: minutes, "MM:SS", "H:MM:SS", "D-H", "D-H:MM", "D-H:MM:SS". Raises ValueError."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("expected minutes, H:MM:SS or D-H:MM:SS")
    first, second, third = (None if match[name] is None else int(match[name]) for name in ("first", "second", "third"))
    assert first is not None
    if match["days"] is not None:
        total = int(match["days"]) * 86400 + first * 3600 + (second or 0) * 60 + (third or 0)
    elif third is not None:
        total = first * 3600 + (second or 0) * 60 + third
    else:
        total = first * 60 + (second or 0)
    if total <= 0:
        raise ValueError("expected a time of a minute or more")
    return total


def _name(value: Any) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool) or not _NAME.fullmatch(str(value)):
        raise ValueError("expected a name as SLURM knows it")
    return str(value)


def _words(pattern: str, what: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"expected {what}")
        return value

    return check


def _gpus(value: Any) -> str:
    if isinstance(value, bool) or not re.fullmatch(r"(?:[\w.-]{1,60}:)?[1-9]\d{0,2}", str(value)):
        raise ValueError("expected a number or TYPE:NUMBER")
    return str(value)


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"expected a whole number from {least} to {most:,}")
        return value

    return check


def _bytes(value: Any) -> int:
    try:
        return parse_bytes(value)
    except ValueError:
        raise ValueError("expected a size like 16GB") from None


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "partition": _name,
    "account": _name,
    "qos": _name,
    "constraint": _words(r"[\w.,&|()*\[\]:!+-]{1,500}", "features as sbatch takes them, a100|h100"),
    "exclude": _words(r"\w[\w.,\[\]-]{0,999}", "names of nodes, node[3-5],node9"),
    "time": seconds,
    "nodes": _whole(1, 10_000),
    "gpus": _gpus,
    "cpus": _whole(1, 10_000),
    "memory": _bytes,
    "array_parallelism": _whole(1, 1_000_000),
    "signal": _whole(1, 65_535),
    "requeue": _flag,
    "wait": _flag,
}
