"""Runs a tiny experiment in forked children and kills them with SIGKILL at chosen writes and renames.

A child ends at the n-th boundary that `rra_cli.core.files` announces; a second child then gives the same command again.
Run as a script: `python killing.py FOLDER WHICH KEEP` tries them and prints one JSON line: how many boundaries there
are, which were tried, and what differed from the undisturbed run. WHICH: `every` boundary, or one of every `kind`: of
those that write, flush or rename the same file, layers, shards and epochs counting as one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.core import files
from rra_cli.core.progress import Progress, silent
from rra_cli.core.store import Store
from rra_cli.data.augment import NoAugment
from rra_cli.data.digits import Digits
from rra_cli.methods.supervised import Supervised
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.training.optimizer import SGD


class Quiet:
    """A reporter that shows nothing."""

    def task(self, title: str):
        from contextlib import nullcontext

        progress: Progress = silent
        return nullcontext(progress)

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


def experiment(root: Path, keep: str = "always") -> Experiment:
    """Seconds of work that goes through every kind of stage: two checkpoints, two splits, four layers."""
    return Experiment(
        name="tiny",
        seed=0,
        dataset=Digits(train_size=80, n_samples={"train": 40, "test": 40}, balanced=True),
        model=MLP(),
        method=Supervised(epochs=2, batch_size=40, milestones=(0,)),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=4),
        metrics=MetricSet({"id_twonn": TwoNN(), "nncs": NNCS(), "nnls": NNLS()}, per_sample=True, per_class=True),
        activations=ActivationsConfig(keep=keep),  # type: ignore[arg-type]
        store=StoreConfig(root=str(root / "store")),
    )


def run(root: Path, keep: str) -> None:
    pipeline.run(experiment(root, keep), root / "run", Quiet(), config={"experiment": "tiny", "keep": keep})


def smallest(root: Path, keep: str, milestones: tuple[int, ...] = ()) -> None:
    """Every kind of write, each as seldom as can be: one split, three layers, one checkpoint and the resume files."""
    from dataclasses import replace

    whole = experiment(root, keep)
    small = replace(
        whole,
        dataset=Digits(train_size=80, n_samples={"test": 40}, balanced=True, splits=("test",)),
        model=MLP(depth=1),
        method=Supervised(epochs=2, batch_size=40, milestones=milestones),
        metrics=MetricSet({"id_twonn": TwoNN(), "nnls": NNLS()}),
    )
    pipeline.run(small, root / "run", Quiet(), config={"experiment": "smallest", "keep": keep})


def in_child(work: Callable[[], None]) -> int:
    """Exit code of the work done in a forked child; -9 where it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(boundary: int) -> None:
    """From now on this process ends, without a chance to clean up, at its n-th boundary (the first is 1)."""
    seen = 0

    def observe(name: str) -> None:
        nonlocal seen
        seen += 1
        if seen == boundary:
            os.kill(os.getpid(), signal.SIGKILL)

    files.observers.append(observe)


def boundaries_of(root: Path, keep: str) -> list[str]:
    """Of a run that nobody disturbs. In this process, so that all later ones have all code loaded and compiled."""
    names: list[str] = []
    files.observers.append(names.append)
    smallest(root, keep)
    files.observers.clear()
    assert threading.active_count() == 1, "a fork would lose threads"
    return names


def kind_of(name: str) -> str:
    """What a boundary has in common with others: what happens, to which kind of file."""
    plain = re.sub(r"[0-9a-f]{12,}|[0-9]+", "#", name)
    plain = re.sub(r"(write |publish )[^ ]*(#|[.](npy|csv|parquet))", r"\1*\2", plain)
    # Until a file has its name, nobody sees how far it was.
    return re.sub(r"^(write .*): (begin|written|flushed)$", r"\1: unnamed", plain)


def chosen(names: list[str], which: str) -> list[int]:
    """The numbers of the boundaries to try; of a kind the one in the middle, when other work lies on both sides."""
    if which == "every":
        return list(range(1, len(names) + 1))
    kinds: dict[str, list[int]] = {}
    for number, name in enumerate(names, 1):
        kinds.setdefault(kind_of(name), []).append(number)
    return sorted(numbers[len(numbers) // 2] for numbers in kinds.values())


def results(root: Path) -> dict[str, bytes]:
    """Every table, and the training's history."""
    found = [*sorted((root / "run" / "tables").rglob("*.*")), root / "run" / "training.jsonl"]
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def main(folder: Path, which: str, keep: str) -> None:
    # The report is read from the tables and has its own tests; drawing it takes longer than all the rest.
    pipeline.render = lambda *args, **kwargs: []  # type: ignore[assignment]
    # What a killed process wrote is seen by others whether it was flushed or not; flushing only costs time here.
    os.fsync = lambda descriptor: None  # type: ignore[assignment]
    calm = folder / "calm"
    calm.mkdir(parents=True)
    names = boundaries_of(calm, keep)
    wanted = results(calm)
    tried, problems = [], []
    for boundary in chosen(names, which):
        root = folder / f"at-{boundary}"

        def killed(root: Path = root, boundary: int = boundary) -> None:
            kill_at(boundary)
            smallest(root, keep)

        code = in_child(killed)
        if code != -signal.SIGKILL:
            problems.append(f"{boundary}: the run was to be killed but ended with {code}")
        code = in_child(lambda root=root: smallest(root, keep))
        tried.append(boundary)
        if code != 0:
            problems.append(f"{boundary}: the second run ended with {code}")
        elif results(root) != wanted:
            found = results(root)
            differ = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
            problems.append(f"{boundary}: these differ: {differ}")
        else:
            report = Store(root / "store").verify()
            left = [*report.corrupt, *report.orphaned, *report.owned, *report.damaged]
            if left:
                problems.append(f"{boundary}: left in the store: {left}")
        shutil.rmtree(root)
    tried_kinds = sorted({kind_of(names[boundary - 1]) for boundary in tried})
    print(json.dumps({"boundaries": len(names), "kinds": tried_kinds, "tried": tried, "problems": problems}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
