"""What a run would build, and what all of it takes: known before the first stage starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rra_cli.core.store import Store
from rra_cli.neighbors import cost_model
from rra_cli.neighbors.arguments import workspace
from rra_cli.neighbors.threads import thread_count
from rra_cli.stages.capture import LayerCapture
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.graphs.side_by_side import searches_at_once
from rra_cli.stages.layout import Layout, Walk
from rra_cli.stages.stage import Cost, Stage

# Every piece of work once, whichever of the stages that share it is asked: layer 0 serves all checkpoints.
Missing = Mapping[tuple[str, str], Stage]


def missing_stages(layout: Layout, store: Store) -> Missing:
    """What a run would build: the targets that are missing and, of what these need, what is missing too."""
    found: dict[tuple[str, str], Stage] = {}

    def visit(stage: Stage) -> None:
        if stage.unit not in found and not stage.done(store):
            found[stage.unit] = stage
            stage.look(store)
            for need in stage.needs:
                visit(need)

    for target in [*([layout.training] if layout.training else []), *layout.targets]:
        visit(target)
    return found


def estimates(missing: Missing, layout: Layout) -> dict[tuple[str, str], Cost]:
    """What each of them takes with the threads and in the memory that the run has.

    What a process spends once before the first work of a kind is added to the first that needs it.
    """
    found, spent, beside = dict[tuple[str, str], Cost](), set[str](), _beside(missing, layout)
    share = cost_model.THREADS / (layout.experiment.runtime.threads or thread_count())
    memory = _memory(layout)
    for stage in layout.stages:
        if stage.unit not in missing or stage.unit in found:
            continue
        cost = missing[stage.unit].cost()
        once = sum(seconds for what, seconds in cost.once.items() if what not in spent)
        spent.update(cost.once)
        found[stage.unit] = replace(
            cost,
            seconds=once + cost.threaded * share + (cost.seconds - cost.threaded) / beside.get(stage.unit, 1),
            memory_bytes=cost.memory_bytes - max(0, cost.blocks - memory),
        )
    return found


def total(missing: Missing, layout: Layout, store: Store) -> Cost:
    """Seconds of all of it, memory of the largest stage and those beside it, peak of what is added to the disk.

    With `activations.keep=until_measured` the peak holds the activations of one walk, the largest: those of a walk
    are gone before the next begins, unless a later one reads them, too. What unfinished work holds on the disk already
    is not needed again. The shards of a graph lie beside it while they are merged.
    """
    costs, beside = estimates(missing, layout), _beside(missing, layout)
    captures = [stage for stage in missing.values() if isinstance(stage, LayerCapture)]
    others = [stage for stage in missing.values() if not isinstance(stage, LayerCapture)]
    rest = sum(stage.cost().disk_bytes for stage in others) - _held(others, store)
    shards = [stage.shards for stage in others if isinstance(stage, GraphStage)]
    rest += max((each.n_bytes for each in shards), default=0) - sum(each.held(store) for each in shards)
    groups = _by_walk(missing, layout) if layout.frees else [(captures, captures)]
    peak = given_back = 0
    for begun, held in groups:
        given_back += _held(begun, store)
        peak = max(peak, sum(capture.n_bytes for capture in held) - given_back)
    return Cost(
        seconds=sum(cost.seconds for cost in costs.values()),
        memory_bytes=max((cost.memory_bytes * beside.get(unit, 1) for unit, cost in costs.items()), default=0),
        disk_bytes=max(0, rest + peak),
    )


def _memory(layout: Layout) -> int:
    """Bytes that searches may use."""
    return workspace(layout.experiment.neighbors.memory_bytes or layout.experiment.runtime.memory_bytes)


def _beside(missing: Missing, layout: Layout) -> dict[tuple[str, str], int]:
    """How many are built at the same time on the processor, where that may be more than one."""
    stages = {} if layout.compared else {unit: stage for unit, stage in missing.items() if stage.concurrent}
    threads, memory = layout.experiment.runtime.threads or thread_count(), _memory(layout)
    return {unit: searches_at_once(stage.cost(), threads, memory, len(stages)) for unit, stage in stages.items()}


def captures_of(walk: Walk) -> list[LayerCapture]:
    """What is read for a walk's measurements, each once."""
    needs = dict.fromkeys(need for target in walk.targets for need in target.needs)
    # Of a graph, which its metrics read; or of the metric itself.
    behind = dict.fromkeys(stage for need in needs for stage in (need, *need.needs))
    return [stage for stage in behind if isinstance(stage, LayerCapture)]


def still_read(captures: Sequence[LayerCapture], walks: Sequence[Walk], store: Store) -> set[LayerCapture]:
    """Those of the captures that what is missing of these walks reads, by itself or to search a missing graph."""
    found, done, asked = set[LayerCapture](), dict[tuple[str, str], bool](), set(captures)
    for target in (target for walk in walks for target in walk.targets):
        here = set[LayerCapture]()
        for need in target.needs:
            if isinstance(need, LayerCapture):
                here.add(need)
            elif not asked.isdisjoint(need.needs):
                if need.unit not in done:
                    done[need.unit] = need.done(store)
                here |= set() if done[need.unit] else _read(need.needs)
        here &= asked - found
        if here and not target.done(store):
            found |= here
    return found


def _by_walk(missing: Missing, layout: Layout) -> list[tuple[list[LayerCapture], list[LayerCapture]]]:
    """Of every walk the missing captures that it is the first to read, and those that lie there while it is built."""
    read, built = list[dict[tuple[str, str], LayerCapture]](), set[tuple[str, str]]()
    for walk in layout.walks:
        targets = [target for target in walk.targets if target.unit not in built]
        needs = [need for target in targets for need in target.needs if need.unit not in built]
        found = _read([*needs, *(behind for need in needs for behind in need.needs)])
        read.append({capture.unit: capture for capture in found if capture.unit in missing})
        built |= {stage.unit for stage in (*targets, *needs) if not isinstance(stage, LayerCapture)}
    groups, seen = [], set[tuple[str, str]]()
    for number, here in enumerate(read):
        later = {unit for walk in read[number + 1 :] for unit in walk}
        kept = [unit for walk in read[:number] for unit in walk if unit in later and unit not in here]
        known = {unit: capture for walk in read for unit, capture in walk.items()}
        groups.append(
            (
                [capture for unit, capture in here.items() if unit not in seen],
                [known[unit] for unit in dict.fromkeys([*here, *kept])],
            )
        )
        seen.update(here)
    return groups


def _read(stages: Sequence[Stage]) -> set[LayerCapture]:
    return {stage for stage in stages if isinstance(stage, LayerCapture)}


def _held(stages: Sequence[Stage], store: Store) -> int:
    return sum(store.held(spec) for spec in dict.fromkeys(spec for stage in stages for spec in stage.claims))
