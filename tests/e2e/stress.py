"""Eight processes run overlapping sweeps on one store, a ninth collects garbage, and all are killed again and again.

`python stress.py FOLDER SEED KILLS` forks them. Kills (SIGKILL) come from outside at random moments and from inside at
random writes and renames (`rra_cli.core.files.boundary`), until there were KILLS of them; whoever was killed starts
again. Then all may finish, and the store is looked at; where there were too few kills, another round begins with a new
one. One JSON line says what was found: see `main`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Imported before the fork, so that a process that starts again is at work at once.
import torch
from killing import Quiet, experiment

import rra_cli.stages.lay_out
import rra_cli.training.loop  # noqa: F401
from rra_cli import pipeline
from rra_cli.config.experiment import Experiment, MetricSet
from rra_cli.core import files
from rra_cli.core.collect import collect
from rra_cli.core.store import Store
from rra_cli.core.work import Work
from rra_cli.methods.supervised import Supervised
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine

PROCESSES = 8
# Every sweep shares trainings, layers or graphs with others: (seed, k).
JOBS = ((0, 4), (0, 6), (1, 4), (1, 6))
JOBS_EACH = 2
GARBAGE = -1  # the number of the process that collects garbage
# Of all boundaries that a process comes to, so many kill it; and seconds from one kill from outside to the next.
INSIDE, OUTSIDE = 1 / 150, 0.25
PATIENCE = 420.0


def job(root: Path, seed: int, k: int) -> Experiment:
    """Every kind of stage, as small as can be: a second of work."""
    return replace(
        experiment(root),
        seed=seed,
        model=MLP(depth=1),
        method=Supervised(epochs=1, batch_size=40, milestones=()),
        neighbors=ExactEngine(k=k),
        metrics=MetricSet({"id_twonn": TwoNN(), "nnls": NNLS()}),
    )


def run(root: Path, folder: Path, seed: int, k: int) -> None:
    pipeline.run(job(root, seed, k), folder, Quiet(), config={"seed": seed, "k": k})


def work(root: Path, number: int) -> None:
    """All jobs of one process; what it finished before it was killed is not asked for again."""
    for offset in range(JOBS_EACH):
        seed, k = JOBS[(number + offset) % len(JOBS)]
        folder = root / f"process{number}" / f"seed={seed},k={k}"
        if not (folder / "finished").exists():
            run(root, folder, seed, k)
            (folder / "finished").touch()


def collect_garbage(root: Path) -> None:
    while not (root / "stop").exists():
        if (root / "store" / "refs").is_dir():
            found = collect(Store(root / "store"), older_than=0.0)
            # Nothing is garbage here but what killed processes left that no run goes on with.
            wrong = [item for item in found.removed if item.kind not in ("trash", "leftovers", "unfinished work")]
            assert not wrong, f"a run refers to what gc removed: {wrong}"
        time.sleep(0.05)


@dataclass
class Log:
    """What was published, by whom; one line an event, so that it survives the process."""

    path: Path

    def note(self, what: str, name: str) -> None:
        with self.path.open("a") as lines:
            lines.write(f"{os.getpid()} {what} {name}\n")

    def watch(self) -> None:
        """From now on every publication of this process is noted when it begins and when it is done."""
        publish = Work.publish

        def noted(work: Work, source: Any, entry: Any = None, spec: Any = None, details: Any = None) -> Any:
            of = work.spec if spec is None else spec
            name = f"{of.stage}/{of.key}/{entry or ''}"
            self.note("begin", name)
            artifact = publish(work, source, entry, spec, details)
            self.note("end", name)
            return artifact

        Work.publish = noted  # type: ignore[method-assign, assignment]

    def repeated(self, killed: Counter[int]) -> list[str]:
        """What was built more often than processes were killed at it."""
        begun: dict[str, list[int]] = defaultdict(list)
        ended: dict[str, list[int]] = defaultdict(list)
        for line in self.path.read_text().splitlines():
            pid, what, name = line.split(" ")
            (begun if what == "begin" else ended)[name].append(int(pid))
        problems = []
        for name, by in begun.items():
            interrupted = sum(pid in killed for pid in by if pid not in ended[name])
            if len(by) > 1 + interrupted or len(ended[name]) > 1:
                problems.append(f"{name}: begun {len(by)} times, ended {len(ended[name])}, killed at it {interrupted}")
        return problems

    def lost(self, store: Path) -> list[str]:
        """What was published and is not there, or is there and nobody published."""
        named: dict[str, set[str]] = {"begin": set(), "end": set()}
        for line in self.path.read_text().splitlines():
            _, what, name = line.split(" ")
            named[what].add(name)
        paths = [path.parent.relative_to(store) for path in store.glob("*/*/**/meta.json")]
        there = {
            "/".join((*path.parts, "")[:3]) for path in paths if path.parts[0] not in ("cache", "damaged", "trash")
        }
        # One may be killed at a graph that another's larger one then stands for: begun, and never needed again.
        return [f"lost: {name}" for name in named["end"] - there] + [
            f"strange: {name}" for name in there - named["begin"]
        ]


def start(root: Path, number: int, attempt: int, seed: str, log: Log, deadly: bool) -> int:
    """Forks a process; its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        sys.stderr = (root / f"errors-{number}.txt").open("a")
        if deadly:
            chance = random.Random(f"{seed}/{number}/{attempt}")
            files.observers.append(
                lambda name: os.kill(os.getpid(), signal.SIGKILL) if chance.random() < INSIDE else None
            )
        log.watch()
        collect_garbage(root) if number == GARBAGE else work(root, number)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def storm(root: Path, seed: str, kills: int, log: Log) -> tuple[Counter[int], list[str]]:
    """Kills until there were enough, and waits until all are done: who was killed, and what went wrong."""
    chance = random.Random(seed)
    killed: Counter[int] = Counter()
    problems: list[str] = []
    attempts: Counter[int] = Counter()
    alive: dict[int, int] = {}

    def begin(number: int) -> None:
        attempts[number] += 1
        alive[start(root, number, attempts[number], seed, log, killed.total() < kills)] = number

    for number in (*range(PROCESSES), GARBAGE):
        begin(number)
    following, deadline = time.monotonic() + chance.expovariate(1 / OUTSIDE), time.monotonic() + PATIENCE
    while alive:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended:
            number, code = alive.pop(ended), os.waitstatus_to_exitcode(status)
            if code == -signal.SIGKILL:
                killed[ended] += 1
                begin(number)
            elif code:
                problems.append(f"process {number} ended with {code}: {(root / f'errors-{number}.txt').read_text()}")
            if set(alive.values()) == {GARBAGE}:
                (root / "stop").touch()
            continue
        now = time.monotonic()
        if now > deadline:
            problems.append(f"still at work after {PATIENCE:g} s: {sorted(alive.values())}")
            for pid in alive:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            break
        if now >= following and killed.total() < kills:
            following = now + chance.expovariate(1 / OUTSIDE)
            os.kill(chance.choice(sorted(alive)), signal.SIGKILL)
        time.sleep(0.005)
    return killed, problems


def results(folder: Path) -> dict[str, bytes]:
    """Every table, and the training's history."""
    found = [*sorted((folder / "tables").rglob("*.*")), folder / "training.jsonl"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def differences(root: Path, calm: Path) -> list[str]:
    problems = []
    for number in range(PROCESSES):
        for offset in range(JOBS_EACH):
            seed, k = JOBS[(number + offset) % len(JOBS)]
            name = f"seed={seed},k={k}"
            if results(root / f"process{number}" / name) != results(calm / name):
                problems.append(f"the tables of process {number}, {name} differ from the calm run's")
    return problems


def after_half_was_deleted(root: Path, log: Log) -> list[str]:
    """gc after the folders of the odd processes went: nothing that the others need may be missing."""
    for number in range(1, PROCESSES, 2):
        shutil.rmtree(root / f"process{number}")
    store = Store(root / "store")
    found = collect(store, older_than=0.0)
    problems = [] if len(found.forgotten) == PROCESSES // 2 * JOBS_EACH else [f"forgotten: {found.forgotten}"]
    before = log.path.read_text()
    for number in range(0, PROCESSES, 2):
        for path in (root / f"process{number}").iterdir():
            (path / "finished").unlink()
        if in_child(lambda number=number: (log.watch(), work(root, number))) != 0:  # type: ignore[misc]
            problems.append(f"process {number} failed after gc")
    if log.path.read_text() != before:
        problems.append("gc removed what a run that is still there needs")
    return problems + [f"corrupt after gc: {what}" for what in store.verify().corrupt]


def in_child(do: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            do()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(folder: Path, seed: int, kills: int) -> None:
    """Prints kills: survived; entries: of the stores, checked byte by byte; problems: what should not be.

    rounds: on a new store each.
    """
    pipeline.render = lambda *args, **kwargs: []  # type: ignore[assignment] - drawing takes longer than all the rest
    torch.set_num_threads(1)
    # What a killed process wrote is seen by others whether it was flushed or not; flushing only costs time here.
    os.fsync = lambda descriptor: None  # type: ignore[assignment]
    began = time.monotonic()
    calm = folder / "calm"
    calm.mkdir(parents=True)
    # In this process, so that whoever starts again has all code loaded and compiled.
    for job_seed, k in JOBS:
        run(calm, calm / f"seed={job_seed},k={k}", job_seed, k)
    assert threading.active_count() == 1, "a fork would lose threads"
    found: dict[str, Any] = {"kills": 0, "rounds": 0, "entries": 0, "problems": []}
    while found["kills"] < kills and not found["problems"]:
        root = folder / f"storm-{found['rounds']}"
        root.mkdir()
        one_round(root, calm, f"{seed}/{found['rounds']}", kills - found["kills"], found)
        shutil.rmtree(root)
    print(json.dumps({**found, "seconds": round(time.monotonic() - began, 1)}))


def one_round(root: Path, calm: Path, seed: str, kills: int, found: dict[str, Any]) -> None:
    """All sweeps on a new store, with as many kills as there is time for, and a look at what is left of it."""
    log = Log(root / "published")
    killed, problems = storm(root, seed, kills, log)
    found["kills"] += killed.total()
    found["rounds"] += 1
    if not problems:
        report = Store(root / "store").verify()
        left = [*report.corrupt, *report.orphaned, *report.owned, *report.damaged, *report.trash]
        problems += [f"left in the store: {each}" for each in left]
        problems += log.repeated(killed) + differences(root, calm)
        problems += log.lost(root / "store")
        found["entries"] += report.n_artifacts
        problems += after_half_was_deleted(root, log)
    found["problems"] += problems


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
