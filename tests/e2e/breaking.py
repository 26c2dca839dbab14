"""Breaks a store, a disk or a clock and gives the command of a tiny experiment again.

Run as a script: `python breaking.py FOLDER SEED KIND=CASES ...` tries CASES faults of each KIND, chosen by SEED, and
prints one JSON line: by kind what was tried, how it ended (with the results of the undisturbed run, or the command
was refused with a message for a person), and the problems: anything else. `KINDS` says which kinds there are.
"""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from killing import in_child, kill_at, results, smallest

import rra_cli.stages.lay_out
import rra_cli.training.loop  # noqa: F401 - imported before the fork
from rra_cli import pipeline
from rra_cli.core import files
from rra_cli.core.artifact import SUM, _sum
from rra_cli.core.rundir import RunDir
from rra_cli.core.store import Store
from rra_cli.core.work import Work
from rra_cli.errors import UserError

KEEP = "always"


def run(root: Path, keep: str) -> None:
    """Two checkpoints, so that there is something to compare with the last one."""
    smallest(root, keep, milestones=(0,))


@dataclass
class Trial:
    """Everything tried of one kind. calm: the folder of the undisturbed run."""

    folder: Path
    calm: Path
    chance: random.Random
    n_cases: int
    boundaries: int
    tried: list[str] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def copy(self, name: str) -> Path:
        """A copy of what the undisturbed run left."""
        root = self.folder / name
        shutil.copytree(self.calm, root, symlinks=True)
        return root

    def fresh(self, name: str) -> Path:
        root = self.folder / name
        root.mkdir()
        return root

    def end(self, what: str, root: Path, outcome: str, *, refusal: str | tuple[str, ...] = (), must: str = "") -> None:
        """Notes how a command ended. refusal: words of the message where it may be refused; must: how it has to end."""
        self.tried.append(what)
        kind, _, text = outcome.partition(": ")
        if kind == "done" and results(root) != results(self.calm):
            self.problems.append(f"{what}: other tables than those of the undisturbed run")
        elif kind == "refused" and ("\n" not in text or not any(words in text for words in words_of(refusal))):
            self.problems.append(f"{what}: refused with {text!r}")
        elif kind == "bug":
            self.problems.append(f"{what}: {text}")
        elif must and kind != must:
            self.problems.append(f"{what}: {kind} instead of {must}: {text}")
        self.ended[kind] += 1

    def boundary(self) -> int:
        return self.chance.randint(1, self.boundaries)


def words_of(refusal: str | tuple[str, ...]) -> tuple[str, ...]:
    return (refusal,) if isinstance(refusal, str) else refusal


def command(root: Path, before: Callable[[], None] = lambda: None, said: Path | None = None) -> str:
    """Gives the command in a child: "done", "refused: message", or "bug: traceback". said: where it leaves word."""
    said = root.with_name(f"{root.name}.said") if said is None else said

    def give() -> None:
        before()
        try:
            run(root, KEEP)
            text = "done"
        except UserError as error:
            text = f"refused: {error}"
        except BaseException:
            text = f"bug: {traceback.format_exc()}"
        said.write_text(text)

    code = in_child(give)
    return said.read_text() if code == 0 else f"bug: the process ended with {code}"


# --- a damaged store ------------------------------------------------------------------------------------------------


def flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def rewrite(change: Callable[[dict[str, Any]], None]) -> Callable[[Path, random.Random], None]:
    def damage(path: Path, chance: random.Random) -> None:
        meta = json.loads((path.parent / "meta.json").read_text())
        change(meta)
        # As another version would write it, or somebody who knows how.
        (path.parent / "meta.json").write_text(json.dumps({**meta, SUM: _sum(meta)}))

    return damage


def link_away(path: Path, chance: random.Random) -> None:
    outside = path.parents[3] / "outside"
    os.rename(path, outside)
    path.symlink_to(outside)


def climb(meta: dict[str, Any]) -> None:
    name = next(iter(meta["files"]))
    meta["files"]["../../../outside"] = meta["files"].pop(name)


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "a deleted artifact": lambda path, chance: shutil.rmtree(path.parent),
    "a deleted file": lambda path, chance: path.unlink(),
    "a truncated file": lambda path, chance: os.truncate(path, path.stat().st_size // 2),
    "an empty file": lambda path, chance: os.truncate(path, 0),
    "a longer file": lambda path, chance: path.write_bytes(path.read_bytes() + b"x"),
    "a flipped bit": flip,
    "a flipped bit of meta.json": lambda path, chance: flip(path.parent / "meta.json", chance),
    "no meta.json": lambda path, chance: (path.parent / "meta.json").unlink(),
    "another format": rewrite(lambda meta: meta.update(format=7, package="99.0")),
    "another version of rra": rewrite(lambda meta: meta.update(package="99.0", new_field=[1])),
    "another version of the stage": rewrite(lambda meta: meta["spec"].update(version=99)),
    "nothing but brackets": lambda path, chance: (path.parent / "meta.json").write_text("[" * 100_000) and None,  # type: ignore[func-returns-value]
    "a link out of the store": link_away,
    "a name that climbs out": rewrite(climb),
}
# Too large to be read twice whenever they are used: a flipped bit in them is found by `rra doctor --store`.
READ_ONCE = "capture"
# What was removed besides, so that the command must make it anew of what is left.
ANEW = ((), ("measure", "to_last"), ("measure", "to_last", "graph", "capture"))


def a_damaged_store(trial: Trial) -> None:
    """One damage of one file; the command is given as it was, or after other stages' results were removed, so that it
    must read what they were made from.
    """
    store = trial.calm / "store"
    places = [path for path in sorted(store.glob("*/*/**/*")) if path.is_file() and path.name != "meta.json"]
    places = [
        path.relative_to(trial.calm) for path in places if path.relative_to(store).parts[0] not in ("cache", "refs")
    ]
    by_stage: dict[str, list[Path]] = {}
    for path in places:
        by_stage.setdefault(path.parts[1], []).append(path)
    cases = [(stage, damage, anew) for stage in by_stage for damage in DAMAGES for anew in ANEW if stage not in anew]
    trial.chance.shuffle(cases)
    for number, (stage, damage, anew) in enumerate(cases[: trial.n_cases]):
        root = trial.copy(f"damaged-{number}")
        path = root / trial.chance.choice(by_stage[stage])
        what = f"{damage} in {path.relative_to(root)}{f', {anew} removed' if anew else ''}"
        DAMAGES[damage](path, trial.chance)
        unseen = Store(root / "store").verify().ok
        for removed in anew:
            shutil.rmtree(root / "store" / removed)
        outcome = command(root)
        if stage == READ_ONCE and damage == "a flipped bit":
            # Either nobody read it, or the numbers follow from what lies there: the check of the store names it.
            trial.tried.append(what)
            trial.ended["named by doctor"] += 1
            if unseen or outcome.startswith("bug"):
                trial.problems.append(f"{what}: {outcome}")
        else:
            known = ("format 7", "is the result of something else", "holds something that is not")
            trial.end(what, root, outcome, refusal=known)
        if unseen and damage not in ("a deleted artifact", "another version of rra", "a flipped bit of meta.json"):
            trial.problems.append(f"{what}: the check of the store did not see it")
        shutil.rmtree(root, ignore_errors=True)


# --- a disk that refuses --------------------------------------------------------------------------------------------


def refuse_from(boundary: int, number: int) -> None:
    """From the n-th boundary on every write fails."""
    seen = 0

    def observe(name: str) -> None:
        nonlocal seen
        seen += 1
        if seen >= boundary:
            raise OSError(number, os.strerror(number))

    files.observers.append(observe)


REFUSALS = {
    errno.ENOSPC: "disk full",
    errno.EDQUOT: "disk quota used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
}


def a_disk_that_refuses(trial: Trial) -> None:
    """From some write on all fail: the message says why, and once there is room the same command ends well."""
    numbers = list(REFUSALS)
    for case in range(trial.n_cases):
        number, boundary = numbers[case % len(numbers)], trial.boundary()
        root = trial.fresh(f"refused-{case}")
        what = f"{errno.errorcode[number]} from boundary {boundary} on"
        outcome = command(root, partial(refuse_from, boundary, number))
        trial.end(what, root, outcome, refusal=REFUSALS[number], must="refused")
        trial.end(f"{what}, then room", root, command(root), must="done")
        trial.problems += [f"{what}: left {each}" for each in _left(root)]
        shutil.rmtree(root)


def a_file_that_may_not_grow(trial: Trial) -> None:
    """`ulimit -f`: what is too large cannot be written."""
    for case in range(trial.n_cases):
        size = 2 ** trial.chance.randint(10, 14)
        root = trial.fresh(f"limited-{case}")

        def limit(size: int = size) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        # What it says it said lies in a file, too, so the limit must leave room for the message.
        outcome = command(root, limit)
        trial.end(f"files of {size} bytes at most", root, outcome, refusal="file too large", must="refused")
        trial.end(f"files of {size} bytes at most, then any", root, command(root), must="done")
        shutil.rmtree(root)


def a_full_disk(trial: Trial) -> None:
    """A small file system in memory that something else fills while the experiment runs."""
    disk = trial.folder / "disk"
    disk.mkdir()
    for _ in range(trial.n_cases):
        boundary = trial.boundary()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=True)
        try:
            root = disk / "root"
            root.mkdir()

            said = trial.folder / "said"  # not on that disk
            outcome = command(root, partial(fill_at, disk / "filler", boundary), said)
            what = f"a disk full at boundary {boundary}"
            trial.end(what, root, outcome, refusal=("disk full", "not enough disk"), must="refused")
            (disk / "filler").unlink()
            trial.end(f"{what}, then room", root, command(root, said=said), must="done")
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            trial.end("a read-only store", root, command(root, said=said), refusal="read-only", must="refused")
        finally:
            subprocess.run(["umount", "-l", disk], check=True)


def fill_at(filler: Path, boundary: int) -> None:
    """At the n-th boundary something takes all the room that is left."""
    seen = 0

    def observe(name: str) -> None:
        nonlocal seen
        seen += 1
        if seen == boundary:
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(1 << 20))
            with filler.open("ab", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(512))

    files.observers.append(observe)


# --- clocks and other machines --------------------------------------------------------------------------------------


def a_clock_that_jumps(trial: Trial) -> None:
    """Every look at the clock is years off in another direction, and so are all times on the disk."""
    real = time.time
    for case in range(trial.n_cases):
        chance = random.Random(trial.chance.random())

        def jump(chance: random.Random = chance) -> None:
            time.time = lambda: max(0.0, real() + chance.uniform(-1, 1) * 3e8)
            time.time_ns = lambda: int(time.time() * 1e9)

        root = trial.fresh(f"clock-{case}")
        trial.end("a clock that jumps", root, command(root, jump), must="done")
        for path in root.rglob("*"):
            then = max(0.0, real() + chance.uniform(-1, 1) * 3e8)
            os.utime(path, (then, then), follow_symlinks=False)
        built = root.with_name(f"{root.name}.built")

        def watched(built: Path = built, jump: Callable[[], None] = jump) -> None:
            jump()
            publish = Work.publish

            def noted(*arguments: Any, **others: Any) -> Any:
                built.write_text("something was built again")
                return publish(*arguments, **others)

            Work.publish = noted  # type: ignore[method-assign]

        trial.end("times on the disk that are years off", root, command(root, watched), must="done")
        if built.exists():
            trial.problems.append(built.read_text())
        shutil.rmtree(root)


def another_machine(trial: Trial) -> None:
    """A machine dies at some write, on a network file system: no locks, folders cannot be flushed, and nobody here can
    tell whether its process lives. Its leases are taken over once they are silent.
    """
    for case in range(trial.n_cases):
        boundary = trial.boundary()
        root = trial.fresh(f"machine-{case}")
        code = in_child(lambda root=root, boundary=boundary: (network(), kill_at(boundary), run(root, KEEP)))  # type: ignore[misc]
        for record in root.rglob("owner.json"):
            owner = json.loads(record.read_text())
            record.write_text(json.dumps({**owner, "host": "another", "boot": "another"}))
        what = f"another machine that died at boundary {boundary} ({code})"
        trial.end(what, root, command(root, network), must="done")
        trial.problems += [f"{what}: left {each}" for each in _left(root)]
        shutil.rmtree(root)


def network() -> None:
    """What a network file system may not do; and patience of half a second, for a test."""
    import fcntl

    def refuse(*arguments: Any, **others: Any) -> Any:
        raise OSError(errno.ENOLCK, "No locks available")

    fcntl.flock = fcntl.lockf = os.lockf = refuse
    flush = os.fsync

    def only_files(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        flush(descriptor)

    os.fsync = only_files  # type: ignore[assignment]
    for method in (Store.__init__, RunDir.enter.__func__):  # type: ignore[attr-defined]
        method.__kwdefaults__["stale_after"] = 0.5


def _left(root: Path) -> Iterator[str]:
    report = Store(root / "store").verify()
    for each in (*report.corrupt, *report.orphaned, *report.owned, *report.damaged):
        yield str(each)


KINDS = {
    "damaged": a_damaged_store,
    "refusing": a_disk_that_refuses,
    "limited": a_file_that_may_not_grow,
    "full": a_full_disk,
    "clock": a_clock_that_jumps,
    "machine": another_machine,
}


def main(folder: Path, seed: int, wanted: list[str]) -> None:
    # The report is read from the tables and has its own tests; drawing it takes longer than all the rest.
    pipeline.render = lambda *args, **kwargs: []  # type: ignore[assignment]
    torch.set_num_threads(1)
    # What a killed process wrote is seen by others whether it was flushed or not; flushing only costs time here.
    os.fsync = lambda descriptor: None  # type: ignore[assignment]
    calm = folder / "calm"
    calm.mkdir(parents=True)
    # In this process, so that whoever gives the command later has all code loaded and compiled.
    boundaries: list[str] = []
    files.observers.append(boundaries.append)
    run(calm, KEEP)
    files.observers.clear()
    assert threading.active_count() == 1, "a fork would lose threads"
    found = {}
    for kind, _, n_cases in (each.partition("=") for each in wanted):
        place = folder / kind
        place.mkdir()
        trial = Trial(place, calm, random.Random(seed), int(n_cases), len(boundaries))
        KINDS[kind](trial)
        found[kind] = {"tried": trial.tried, "ended": trial.ended, "problems": trial.problems}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
