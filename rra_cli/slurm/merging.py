"""What becomes of a job by its folder and by SLURM together, and how one ended that left no word."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from rra_cli.core.lease import Lease
from rra_cli.core.runfiles import LEASE
from rra_cli.core.runstate import RunState
from rra_cli.errors import UserError
from rra_cli.slurm.queue import UNKNOWN, Task

BACK = "on its way back into the queue"
_TODO: Mapping[str, str] = {
    "OUT_OF_MEMORY": "raise hydra.launcher.memory",
    "TIMEOUT": "raise hydra.launcher.time, or .signal if it had no time to save",
    "DEADLINE": "raise hydra.launcher.time",
}
# Without cgroups SLURM kills what needs too much memory, calls it FAILED with this code (squeue tells none), and says
# why in the output alone.
_KILLED = frozenset({"", "9:0", "0:9", "137:0"})
_MEMORY = re.compile(r"exceeded (?:job |step )?memory limit|oom[-_]kill", re.IGNORECASE)


def merged(
    state: RunState,
    task: Task,
    word: Callable[[], object],
    output: str = "its output",
    last_words: Callable[[], str] = str,
    *,
    comes_back: bool = True,
) -> RunState:
    """A job by its folder and by SLURM.

    word: gives the word that it left of how this start of it ended, or None; output, last_words: as of `lost`;
    comes_back: whether SLURM starts it again after it has saved.
    """
    if state.state == "done":
        return state
    if task.waits:
        again = "" if state.state == "waiting" else "again "
        why = f": {task.reason}" if task.reason else ""
        return replace(state, state="waiting", stage="", left=None, message=f"{again}in the queue{why} ({task.job})")
    if task.works:
        if state.active:
            return replace(state, note=", ".join(part for part in (state.note, _on(task)) if part))
        if task.state == "COMPLETING" and state.state == "interrupted" and comes_back:
            # SLURM calls one that was cancelled the same, and tells them apart only some seconds later.
            return replace(state, state="waiting", stage="", left=None, message=f"{BACK} ({task.job})")
        if task.state == "COMPLETING" or (state.state == "failed" and word() is not None):
            return state
        return replace(state, state="running", stage=f"starts {_on(task)}".strip(), message="", left=None, note="")
    if state.state in ("running", "waiting", "dead") and task.state != "COMPLETED":
        if state.active and _is_here(state.path):
            return state  # somebody else has started it
        return replace(state, state="dead", left=None, message=lost(task, output, last_words))
    if state.state == "interrupted" and task.state not in ("COMPLETED", "FAILED"):
        return replace(state, message=lost(task, output))
    return state


def lost(task: Task, output: str, last_words: Callable[[], str] = str) -> str:
    """How a task ended that left no word, in a line: SLURM's own state first. output: where its last words may be;
    last_words: gives them.
    """
    if task.state == UNKNOWN:
        return f"is not in SLURM's queue any more ({task.job}): cancelled before it began, or ended long ago"
    if task.state == "FAILED" and task.code in _KILLED and _MEMORY.search(last_words()):
        task = replace(task, state="OUT_OF_MEMORY")
    code = f", exit code {task.code.split(':')[0]}" if task.state == "FAILED" and task.code else ""
    todo = _TODO.get(task.state, f"see {output}" if task.state in ("FAILED", "BOOT_FAIL") else "")
    return f"SLURM: {task.state}{code} {_on(task)}".rstrip() + f" ({task.job})" + (f"; {todo}" if todo else "")


def _is_here(run: Path) -> bool:
    with suppress(UserError):
        owner = Lease(run / LEASE).look()
        return owner is not None and owner.is_alive()
    return False


def _on(task: Task) -> str:
    return f"on {task.nodes}" if task.nodes else ""
