"""From the folders on a command line to run folders: a run, a sweep, a day, or any folder above them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rra_cli.core.reading import read_json
from rra_cli.core.runfiles import CONFIG, STATUS
from rra_cli.core.sweepdir import is_sweep, read

# outputs / date / sweep / job: no deeper, for a folder above may be a home folder.
_DEPTH = 3
_OTHER = ("store", "tables", "plots")


@dataclass(frozen=True)
class Found:
    """A folder that was asked for or found in one. reason: why it cannot be compared ("" if nothing speaks against)."""

    folder: Path
    reason: str = ""


def find_runs(arguments: Sequence[Path]) -> list[Found]:
    """All runs in these folders, each once, in the order of their paths; what is no finished run with its reason."""
    found: dict[str, Found] = {}
    for argument in arguments:
        folders = [argument] if not argument.is_dir() else list(_runs_in(argument))
        for folder in folders or [argument]:
            found.setdefault(os.path.realpath(folder), Found(folder, unfinished(folder)))
    return [found[path] for path in sorted(found)]


def names_of(folders: Sequence[Path]) -> list[str]:
    """What runs are called in tables: their paths below the folder that all of them lie in."""
    real = [Path(os.path.realpath(folder)) for folder in folders]
    if not real:
        return []
    above = Path(os.path.commonpath([folder.parent for folder in real]))
    return [folder.relative_to(above).as_posix() for folder in real]


def unfinished(folder: Path) -> str:
    """Why the folder holds no finished run; "" where its status says that it is done."""
    if not folder.exists():
        waiting = is_sweep(folder.parent)
        return "it has not begun: its sweep has not come to it" if waiting else "there is no such folder"
    if not folder.is_dir():
        return "it is a file, not a run folder"
    if not _is_run(folder):
        return "it holds no run"
    try:
        status = read_json(folder / STATUS)
        state, stage, message = str(status["state"]), str(status["stage"]), str(status["message"])
    except FileNotFoundError:
        return f"it has not begun: {STATUS} is missing"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{STATUS} cannot be read: {error}"
    if state == "done":
        return ""
    told = [f"at {stage}"] * bool(stage) + [line for line in message.splitlines()[:1] if line]
    return f"unfinished: {state}" + (f" ({': '.join(told)})" if told else "")


def _runs_in(folder: Path) -> Iterator[Path]:
    """The folder itself where it is a run, else the runs below it; of a sweep those that have not begun, too."""
    if _is_run(folder):
        yield folder
        return
    if is_sweep(folder):
        sweep = read(folder)
        yield from map(sweep.folder, sweep.jobs)
        return
    level = [folder]
    for _ in range(_DEPTH):
        following = []
        for child in (child for parent in level for child in _folders(parent)):
            if _is_run(child) or is_sweep(child):
                yield from _runs_in(child)
            else:
                following.append(child)
        level = following


def _is_run(folder: Path) -> bool:
    return (folder / CONFIG).is_file() or (folder / STATUS).is_file()


def _folders(folder: Path) -> list[Path]:
    try:
        children = sorted(folder.iterdir())
    except OSError:
        return []
    return [child for child in children if child.is_dir() and child.name[0] != "." and child.name not in _OTHER]
