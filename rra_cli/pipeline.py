"""An experiment on one page: lay it out, build what is missing, write the tables, render the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rra_cli.config import Experiment, resolved
from rra_cli.core.progress import Reporter
from rra_cli.core.resources import parse_bytes
from rra_cli.core.rundir import RunDir
from rra_cli.core.store import Store
from rra_cli.report import render
from rra_cli.report.tables import write_table
from rra_cli.stages.device import resolve_device, set_threads
from rra_cli.stages.layout import Layout, lay_out
from rra_cli.stages.stage import Context, Stage, State, ensure
from rra_cli.stages.tabulate import per_sample, tabulate


@dataclass(frozen=True)
class PlanRow:
    """One stage of a plan: what it is, whether it would run, and what it would cost."""

    stage: str
    label: str
    state: State
    seconds: float
    memory_bytes: int
    disk_bytes: int
    key: str


def plan(experiment: Experiment) -> list[PlanRow]:
    """The stages that `run` would walk, in its order; runs nothing and writes nothing."""
    store = Store(Path(experiment.store.root))
    layout = lay_out(experiment)
    demanded = _demanded(layout, store)
    rows = []
    for stage in layout.stages:
        cost = stage.cost()
        rows.append(
            PlanRow(
                stage=stage.name,
                label=stage.label,
                state=_state(stage, store, demanded),
                seconds=cost.seconds,
                memory_bytes=cost.memory_bytes,
                disk_bytes=cost.disk_bytes,
                key=stage.specs[0].key,
            )
        )
    return rows


def run(experiment: Experiment, folder: Path, reporter: Reporter) -> None:
    """Runs every missing stage and writes the run folder; the same call again only reads what is there."""
    with RunDir.enter(folder, resolved(experiment)) as run_dir:
        set_threads(experiment.runtime.threads)
        device = resolve_device(experiment.runtime.device)
        layout = lay_out(experiment)
        for note in layout.notes:
            reporter.note(note)
        store = Store(Path(experiment.store.root))
        specs = {spec.key: spec for stage in layout.stages for spec in stage.specs}
        store.refer(run_dir.run_id, run_dir.path, list(specs))
        memory = experiment.runtime.memory
        context = Context(store, reporter, device, None if memory is None else parse_bytes(memory))
        run_dir.write_provenance(seeds=_seeds(experiment), data=layout.data.checksums())
        _walk(layout, context, run_dir)
        _write_tables(layout, store, run_dir)
        run_dir.write_manifest(store, specs.values())
        with reporter.task("report") as progress:
            render(run_dir.path, progress)


def _walk(layout: Layout, context: Context, run_dir: RunDir) -> None:
    """Checkpoint by checkpoint, so that at most one checkpoint's activations are needed at a time."""
    if layout.training is not None:
        run_dir.status(stage=layout.training.label)
        ensure(layout.training, context)
    for title, targets, captures in layout.walks:
        for target in targets:
            run_dir.status(stage=f"{target.name} {title}")
            ensure(target, context)
        if layout.experiment.activations.keep == "until_measured":
            for capture in captures:
                context.store.free(capture.point.activations)


def _write_tables(layout: Layout, store: Store, run_dir: RunDir) -> None:
    for name, rows in tabulate(layout, store).items():
        write_table(rows, run_dir.tables, name)
    if layout.experiment.metrics.per_sample:
        for name, rows in per_sample(layout, store).items():
            write_table(rows, run_dir.tables / "per_sample", name)
    if layout.training is not None:
        run_dir.copy("training.jsonl", layout.training.history(store))


def _demanded(layout: Layout, store: Store) -> set[int]:
    """The stages that a run would build: those that are missing and, of what they need, what is missing too."""
    found: set[int] = set()

    def visit(stage: Stage) -> None:
        if id(stage) not in found and not stage.done(store):
            found.add(id(stage))
            for need in stage.needs:
                visit(need)

    for target in [*layout.stages[:1], *layout.layers, *layout.pairs]:
        visit(target)
    return found


def _state(stage: Stage, store: Store, demanded: set[int]) -> State:
    if stage.done(store):
        return "cached"
    if id(stage) not in demanded:
        return "not needed"
    return "stale" if stage.stale(store) else "missing"


def _seeds(experiment: Experiment) -> dict[str, int]:
    return {"seed": experiment.seed, "dataset.subset_seed": experiment.dataset.subset_seed}
