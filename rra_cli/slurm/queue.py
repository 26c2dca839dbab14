"""What SLURM says of array tasks: those in its queue, and how those ended that have left it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rra_cli.slurm.commands import SlurmError, call

WAITS = frozenset({"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"})
ENDED = frozenset(
    {
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
        *("PREEMPTED", "REVOKED", "TIMEOUT"),
    }
)
# Not a word of SLURM's: the task is neither in the queue nor in the accounting.
UNKNOWN = "UNKNOWN"

Key = tuple[str, int]  # job id of the array, index of the task
REST = -1  # in place of an index: all that were cancelled before they had a record of their own

# The reason last: it may hold anything.
_SQUEUE = "%F|%K|%T|%N|%j|%r"
_SACCT = "JobID,JobName,State,ExitCode,NodeList"
_INDICES = re.compile(r"(\d+)(?:_(?:(\d+)|\[([0-9,:-]*)(?:%\d+)?\]))?")
MOST_INDICES = 1 << 22  # SLURM's own limit for an array


@dataclass(frozen=True)
class Task:
    """An array task as SLURM sees it. job: as `scancel` understands it, `12_3`. state: SLURM's word. reason: why it
    waits. nodes: where it runs or ran. code: how its batch script ended, `1:0`; the second is a signal. name: of the
    array.
    """

    job: str
    state: str
    reason: str = ""
    nodes: str = ""
    code: str = ""
    name: str = ""

    @property
    def waits(self) -> bool:
        """Whether it is to start, or to start again."""
        return self.state in WAITS

    @property
    def ended(self) -> bool:
        """Whether it will not run any more."""
        return self.state in ENDED or self.state == UNKNOWN

    @property
    def works(self) -> bool:
        """Whether it is on a node: about to start, running, or being tidied up."""
        return not self.waits and not self.ended


def in_queue(jobs: Iterable[str], cluster: str | None = None) -> dict[Key, Task]:
    """The tasks of these arrays that the controller still knows: also, for some minutes, those that have ended.

    Raises `SlurmError` where it does not answer.
    """
    how = ["--noheader", "--array", "--states=all", f"--format={_SQUEUE}", *_at(cluster)]
    try:
        return parse_squeue(call("squeue", *how, f"--jobs={','.join(jobs)}"))
    except SlurmError as error:
        if "Invalid job id" in str(error):  # of one array alone: it has left the queue long ago
            return {}
        raise


def in_accounting(jobs: Iterable[str], cluster: str | None = None) -> dict[Key, Task]:
    """The tasks of these arrays as the accounting has them, the latest start of each.

    Raises `SlurmError` where there is none (many clusters keep none).
    """
    how = ["--noheader", "--parsable2", "--allocations", f"--format={_SACCT}", *_at(cluster)]
    return parse_sacct(call("sacct", *how, f"--jobs={','.join(jobs)}"))


def _at(cluster: str | None) -> list[str]:
    return [] if cluster is None else [f"--clusters={cluster}"]


def parse_squeue(text: str) -> dict[Key, Task]:
    """The rows of squeue in the format asked for; what is none of a task's is passed over."""
    found = {}
    for line in text.splitlines():
        cells = line.split("|", 5)
        if len(cells) == 6 and cells[0].isdecimal():
            array, index, state, nodes, name, reason = (cell.strip() for cell in cells)
            reason = "" if reason in ("None", "(null)") else reason
            nodes = "" if nodes == "(null)" else nodes
            at = int(index) if index.isdecimal() else REST
            found[array, at] = Task(f"{array}_{index}" if at != REST else array, state, reason, nodes, name=name)
    return found


def parse_sacct(text: str) -> dict[Key, Task]:
    """The rows of sacct in the format asked for; a later row of the same task counts, it is the later start."""
    found = {}
    for line in text.splitlines():
        cells = line.split("|")
        match = _INDICES.fullmatch(cells[0])
        if match is None or len(cells) != 5:
            continue
        _, name, state, code, nodes = cells
        word = state.split(" ", 1)[0].rstrip("+")  # CANCELLED by 1000
        nodes = "" if nodes == "None assigned" else nodes
        listed = [int(match[2])] if match[2] else indices(match[3]) if match[3] else [REST]
        for index in listed:
            job = match[1] if index == REST else f"{match[1]}_{index}"
            found[match[1], index] = Task(job, word, nodes=nodes, code=code, name=name)
    return found


def indices(text: str) -> list[int]:
    """The numbers of a list like `0-3,5,8-12:2`. Raises ValueError where it is none."""
    found: list[int] = []
    for part in text.split(",") if text else []:
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9})(?::(\d{1,9}))?)?", part)
        if match is None:
            raise ValueError(f"{part!r} is no range of array indices")
        numbers = range(int(match[1]), int(match[2] or match[1]) + 1, int(match[3] or 1))
        if len(found) + len(numbers) > MOST_INDICES:
            raise ValueError("more array indices than SLURM knows")
        found += numbers
    return found


def ranges(numbers: Iterable[int]) -> str:
    """The numbers as sbatch's `--array` takes them: `0-3,5`."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def setting(text: str, name: str) -> str | None:
    """A value of `scontrol show config`; None where it says nothing of it."""
    match = re.search(rf"^{re.escape(name)}\s*=\s*(\S+)", text, re.MULTILINE)
    return None if match is None else match[1]


def by_state(tasks: Mapping[int, Task]) -> str:
    """How many tasks are in which state: "3 PENDING, 1 RUNNING"."""
    states = [task.state for task in tasks.values()]
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
