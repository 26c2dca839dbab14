"""An experiment on one page: lay it out, build what is missing, write the tables, render the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rra_cli.config.experiment import Experiment
from rra_cli.core import files
from rra_cli.core.progress import Progress, Reporter, clock
from rra_cli.core.provenance import provenance
from rra_cli.core.resources import check_disk, format_bytes
from rra_cli.core.rundir import RunDir
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.errors import together
from rra_cli.report import render
from rra_cli.report.tables.per_sample import write_per_sample
from rra_cli.report.tables.schema import SEARCH_TIMES
from rra_cli.report.tables.writing import write_search_times, write_table
from rra_cli.stages.budget import Missing, captures_of, estimates, missing_stages, still_read, total
from rra_cli.stages.capture import LayerCapture
from rra_cli.stages.device import resolve_device, set_threads, side_by_side
from rra_cli.stages.graphs.engines import reserve_threads
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.graphs.side_by_side import build_all
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.layout import Layout
from rra_cli.stages.manifest import graph_rows, samples
from rra_cli.stages.ranks import leading
from rra_cli.stages.stage import Context, Cost, Stage, State, ensure
from rra_cli.stages.tabulate import Tabulator

# What is not worth a line before it starts: less than both.
TINY = Cost(seconds=10.0, disk_bytes=10**8)


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


@dataclass(frozen=True)
class Plan:
    """The stages that a run would walk, in its order, each piece of work once, and what building the missing takes.

    total: seconds, the peak of memory, and the peak of what is added to the disk, which `run` asks for. notes: what a
    person should know before they start.
    """

    rows: tuple[PlanRow, ...]
    total: Cost
    notes: tuple[str, ...] = ()


def plan(experiment: Experiment) -> Plan:
    """What `run` would do; builds and writes nothing."""
    store = Store(experiment.store_root)
    layout = lay_out(experiment, read_only=True)
    missing = missing_stages(layout, store)
    units: dict[tuple[str, str], Stage] = {}
    for stage in layout.stages:
        units.setdefault(stage.unit, stage)
    expected, rows = estimates(missing, layout), []
    for stage in units.values():
        cost = expected[stage.unit] if stage.unit in expected else stage.cost()
        rows.append(
            PlanRow(
                stage=stage.name,
                label=stage.label,
                state=_state(stage, store, missing),
                seconds=cost.seconds,
                memory_bytes=cost.memory_bytes,
                disk_bytes=cost.disk_bytes,
                key=stage.unit[1],
            )
        )
    return Plan(tuple(rows), total(missing, layout, store), tuple(layout.notes))


def run(experiment: Experiment, folder: Path, reporter: Reporter, *, config: Mapping[str, Any]) -> None:
    """Runs every missing stage and writes the run folder; the same call again only reads what is there.

    config: the resolved configuration, as it is written beside the results. What can be wrong with the request is
    found before anything is written.
    """
    set_threads(experiment.runtime.threads)
    device, layout = together(lambda: resolve_device(experiment.runtime.device), lambda: lay_out(experiment))
    reserve_threads(layout.stages)
    store = Store(experiment.store_root, warn=reporter.warn)
    memory = experiment.neighbors.memory_bytes or experiment.runtime.memory_bytes
    save_every = 60.0 * experiment.runtime.save_every
    devices, timed = side_by_side(device), bool(layout.compared)
    context = Context(store, reporter, device, memory, devices, save_every, timed)
    missing = missing_stages(layout, store)
    needed = total(missing, layout, store)
    if layout.training is not None and layout.training.unit in missing:
        layout.training.check_ranks()
    if missing:
        check_disk(store.root, needed.disk_bytes)
        layout.check(store, reporter)
    checksums = layout.checksums()
    with RunDir.enter(folder, config) as run_dir, run_dir.logging():
        run_dir.forecast.expect({unit: cost.seconds for unit, cost in estimates(missing, layout).items()})
        reporter = run_dir.forecast.watched(reporter)
        context = replace(context, reporter=reporter)
        specs = [spec for stage in layout.stages for spec in (*stage.specs, *stage.claims)]
        read = {need.unit for stage in missing.values() for need in stage.needs}
        released = [spec for stage in _freed(layout) if stage.unit not in read for spec in stage.specs]
        store.refer(run_dir.id, run_dir.path, specs, released=released)
        seeds = {"seed": experiment.seed, "dataset.subset_seed": experiment.dataset.subset_seed}
        run_dir.write_provenance(provenance(seeds=seeds, checksums=checksums))
        for note in layout.notes:
            reporter.note(note)
        if needed.seconds >= TINY.seconds or needed.disk_bytes >= TINY.disk_bytes:
            disk, peak = format_bytes(needed.disk_bytes), format_bytes(needed.memory_bytes)
            reporter.note(f"needs about {disk} of disk, {peak} of memory, about {clock(needed.seconds)}")
        _walk(layout, context, run_dir)
        if layout.shards:
            store.tidy(dict.fromkeys(spec for shard in layout.shards for spec in shard.claims))
            shard = layout.shards[0]
            done = f"shard {shard.shard} of {shard.graph.shards.count} of all graphs is in the store"
            reporter.note(f"{done}; when all are, the same command without neighbors.shard merges them and goes on")
            run_dir.status("done", "", message=done)
            return
        store.tidy(dict.fromkeys(spec for stage in layout.stages for spec in stage.claims))
        for graph in layout.graphs:
            graph.tidy(store)
        run_dir.forecast.expect({})
        run_dir.status("running", "report")
        _write_tables(layout, store, run_dir)
        artifacts = [found for stage in layout.stages for found in stage.artifacts(store)]
        run_dir.write_manifest(store, artifacts, samples=samples(layout), graphs=graph_rows(layout, store))
        if experiment.runtime.report:
            with reporter.task("report") as progress:
                render(run_dir.path, progress, cache=store.cache("plots"))
        run_dir.status("done", "")


def _walk(layout: Layout, context: Context, run_dir: RunDir) -> None:
    """Checkpoint by checkpoint, so that the activations of at most one are needed at a time."""
    store = context.store
    freed = set(_freed(layout))
    if freed:
        store.look_at_others([spec for capture in freed for spec in capture.specs], run_id=run_dir.id)
    left: list[Spec] = []
    if layout.training is not None:
        run_dir.forecast.begin(_units(layout.training))
        run_dir.status("running", layout.training.title)
        with leading(context.device):
            ensure(layout.training, context)
    walks = layout.walks
    for number, walk in enumerate(walks):
        missing = [target for target in walk.targets if not target.done(store)]
        needs = [need for target in missing for need in target.needs if not need.done(store)]
        graphs = list({need.unit: need for need in needs}.values())  # layers without maps have one at all scales
        searched = any(isinstance(need, GraphStage) for need in graphs)
        names = ("layers", "graph shards") if layout.shards else ("graphs" if searched else "layers", "metrics")
        for what, stages in zip(names, (graphs, missing), strict=True):
            if stages:
                with context.reporter.task(f"{what} of {walk.title}") as progress:
                    _build(stages, context, run_dir, progress)
        if freed:
            # Once more what stayed for another run: it may have ended, or been found dead, in the meantime.
            read = captures_of(walk)
            later = still_read(read, walks[number + 1 :], store)
            specs = [spec for capture in read if capture not in later for spec in capture.specs]
            left = store.free_all([*left, *specs], run_id=run_dir.id)


def _build(stages: Sequence[Stage], context: Context, run_dir: RunDir, progress: Progress) -> None:
    """All of them, with the run's status and forecast."""

    def begin(done: int, stage: Stage) -> None:
        progress(done, len(stages), stage.label)
        run_dir.forecast.begin(_units(stage))
        run_dir.status("running", stage.title)

    build_all(stages, context, begin)
    progress(len(stages), len(stages), "")


def _units(stage: Stage) -> Iterator[tuple[str, str]]:
    """The pieces of work that building a stage may come to."""
    yield stage.unit
    for need in stage.needs:
        yield from _units(need)


def _freed(layout: Layout) -> list[LayerCapture]:
    """The captures that are removed once they are measured."""
    return layout.captures if layout.frees else []


def _write_tables(layout: Layout, store: Store, run_dir: RunDir) -> None:
    results = Tabulator(layout, store)
    for name, rows in results.tables().items():
        write_table(rows, run_dir.tables, name)
    for metric, blocks in results.per_sample().items():
        write_per_sample(blocks, run_dir.tables, metric)
    for metric, blocks in results.per_sample_pairs().items():
        write_per_sample(blocks, run_dir.tables, metric, pairs=True)
    if layout.compared:
        write_search_times(results.search_times(), run_dir.path / SEARCH_TIMES)
    if layout.training is not None:
        files.write_bytes(run_dir.path / "training.jsonl", layout.training.history(store))


def _state(stage: Stage, store: Store, missing: Missing) -> State:
    if stage.done(store):
        return "cached"
    if stage.unit not in missing:
        return "not needed"
    return "stale" if stage.stale(store) else "missing"
