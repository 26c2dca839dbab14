"""An experiment on one page: lay it out, build what is missing, write the tables, render the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rra_cli.config.experiment import Experiment
from rra_cli.core import files
from rra_cli.core.progress import Reporter
from rra_cli.core.provenance import provenance
from rra_cli.core.rundir import RunDir
from rra_cli.core.store import Store
from rra_cli.report import render
from rra_cli.report.tables import write_per_sample, write_table
from rra_cli.stages.device import resolve_device, set_threads
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.layout import Layout
from rra_cli.stages.stage import Context, Stage, State, ensure
from rra_cli.stages.tabulate import Tabulator


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
    """The stages that `run` would walk, in its order; builds nothing."""
    store = Store(experiment.store_root)
    layout = lay_out(experiment)
    missing = _missing(layout, store)
    rows = []
    for stage in layout.stages:
        cost = stage.cost()
        rows.append(
            PlanRow(
                stage=stage.name,
                label=stage.label,
                state=_state(stage, store, missing),
                seconds=cost.seconds,
                memory_bytes=cost.memory_bytes,
                disk_bytes=cost.disk_bytes,
                key=stage.specs[0].key,
            )
        )
    return rows


def run(experiment: Experiment, folder: Path, reporter: Reporter, *, config: Mapping[str, Any]) -> None:
    """Runs every missing stage and writes the run folder; the same call again only reads what is there.

    config: the resolved configuration, as it is written beside the results. What can be wrong with the request is
    found before anything is written.
    """
    set_threads(experiment.runtime.threads)
    device = resolve_device(experiment.runtime.device)
    layout = lay_out(experiment)
    store = Store(experiment.store_root, warn=reporter.warn)
    context = Context(store, reporter, device, experiment.runtime.memory_bytes)
    if _missing(layout, store):
        layout.data.check(store, reporter)
    checksums = layout.data.checksums()
    with RunDir.enter(folder, config) as run_dir, run_dir.logging():
        store.refer(run_dir.id, run_dir.path, [spec for stage in layout.stages for spec in stage.specs])
        seeds = {"seed": experiment.seed, "dataset.subset_seed": experiment.dataset.subset_seed}
        run_dir.write_provenance(provenance(seeds=seeds, checksums=checksums))
        for note in layout.notes:
            reporter.note(note)
        _walk(layout, context, run_dir)
        store.tidy(dict.fromkeys(spec for stage in layout.stages for spec in stage.claims))
        run_dir.status("running", "report")
        _write_tables(layout, store, run_dir)
        run_dir.write_manifest(store, [found for stage in layout.stages for found in stage.artifacts(store)])
        with reporter.task("report") as progress:
            render(run_dir.path, progress, cache=store.root / "cache" / "plots")
        run_dir.status("done", "")


def _walk(layout: Layout, context: Context, run_dir: RunDir) -> None:
    """Checkpoint by checkpoint, so that the activations of at most one are needed at a time."""
    store = context.store
    if layout.training is not None:
        run_dir.status("running", layout.training.label)
        ensure(layout.training, context)
    for walk in layout.walks:
        missing = [target for target in walk.targets if not target.done(store)]
        graphs = list(dict.fromkeys(need for target in missing for need in target.needs if not need.done(store)))
        for what, stages in (("graphs", graphs), ("metrics", missing)):
            if stages:
                with context.reporter.task(f"{what} of {walk.title}") as progress:
                    for done, stage in enumerate(stages):
                        progress(done, len(stages), stage.label)
                        run_dir.status("running", stage.label)
                        ensure(stage, context)
                    progress(len(stages), len(stages), "")
        if layout.experiment.activations.keep == "until_measured":
            for capture in walk.captures:
                store.free(capture.point.activations, run_id=run_dir.id)


def _write_tables(layout: Layout, store: Store, run_dir: RunDir) -> None:
    results = Tabulator(layout, store)
    for name, rows in results.tables().items():
        write_table(rows, run_dir.tables, name)
    for metric, rows in results.per_sample().items():
        write_per_sample(rows, run_dir.tables, metric)
    for metric, rows in results.per_sample_pairs().items():
        write_per_sample(rows, run_dir.tables, metric, pairs=True)
    if layout.training is not None:
        files.write_bytes(run_dir.path / "training.jsonl", layout.training.history(store))


def _missing(layout: Layout, store: Store) -> set[Stage]:
    """The stages that a run would build: targets that are missing and, of what these need, what is missing too."""
    found: set[Stage] = set()

    def visit(stage: Stage) -> None:
        if stage not in found and not stage.done(store):
            found.add(stage)
            for need in stage.needs:
                visit(need)

    for target in [*([layout.training] if layout.training else []), *layout.layers, *layout.pairs]:
        visit(target)
    return found


def _state(stage: Stage, store: Store, missing: set[Stage]) -> State:
    if stage.done(store):
        return "cached"
    if stage not in missing:
        return "not needed"
    return "stale" if stage.stale(store) else "missing"
