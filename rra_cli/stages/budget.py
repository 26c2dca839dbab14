"""What a run would build, and what all of it takes: known before the first stage starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rra_cli.core.store import Store
from rra_cli.neighbors import cost_model
from rra_cli.neighbors.arguments import workspace
from rra_cli.neighbors.threads import thread_count
from rra_cli.stages.capture import LayerCapture
from rra_cli.stages.graph import GraphStage
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
    experiment, found, spent = layout.experiment, dict[tuple[str, str], Cost](), set[str]()
    share = cost_model.THREADS / (experiment.runtime.threads or thread_count())
    memory = workspace(experiment.neighbors.memory_bytes or experiment.runtime.memory_bytes)
    for stage in layout.stages:
        if stage.unit not in missing or stage.unit in found:
            continue
        cost = missing[stage.unit].cost()
        once = sum(seconds for what, seconds in cost.once.items() if what not in spent)
        spent.update(cost.once)
        found[stage.unit] = replace(
            cost,
            seconds=cost.seconds + once + cost.threaded * (share - 1),
            memory_bytes=cost.memory_bytes - max(0, cost.blocks - memory),
        )
    return found


def total(missing: Missing, layout: Layout, store: Store) -> Cost:
    """Seconds of all of it, memory of the largest stage, and the peak of what is added to the disk.

    With `activations.keep=until_measured` the peak holds the activations of one walk, the largest: those of a walk
    are gone before the next begins. What unfinished work holds on the disk already is not needed again. The shards of
    a graph lie beside it while they are merged.
    """
    costs = estimates(missing, layout).values()
    captures = [stage for stage in missing.values() if isinstance(stage, LayerCapture)]
    others = [stage for stage in missing.values() if not isinstance(stage, LayerCapture)]
    rest = sum(stage.cost().disk_bytes for stage in others) - _held(others, store)
    shards = [stage.shards for stage in others if isinstance(stage, GraphStage)]
    rest += max((each.n_bytes for each in shards), default=0) - sum(each.held(store) for each in shards)
    groups = _by_walk(missing, layout) if layout.frees else [captures]
    peak = given_back = 0
    for group in groups:
        given_back += _held(group, store)
        peak = max(peak, sum(capture.n_bytes for capture in group) - given_back)
    return Cost(
        seconds=sum(cost.seconds for cost in costs),
        memory_bytes=max((cost.memory_bytes for cost in costs), default=0),
        disk_bytes=max(0, rest + peak),
    )


def captures_of(walk: Walk) -> list[LayerCapture]:
    """What is read for a walk's measurements, each once."""
    needs = dict.fromkeys(need for target in walk.targets for need in target.needs)
    # Of a graph, which its metrics read; or of the metric itself.
    behind = dict.fromkeys(stage for need in needs for stage in (need, *need.needs))
    return [stage for stage in behind if isinstance(stage, LayerCapture)]


def _by_walk(missing: Missing, layout: Layout) -> list[list[LayerCapture]]:
    """The missing captures by the first walk that reads them."""
    groups, seen = [], set[tuple[str, str]]()
    for walk in layout.walks:
        here = [capture for capture in captures_of(walk) if capture.unit in missing and capture.unit not in seen]
        seen.update(capture.unit for capture in here)
        groups.append(here)
    return groups


def _held(stages: Sequence[Stage], store: Store) -> int:
    return sum(store.held(spec) for spec in dict.fromkeys(spec for stage in stages for spec in stage.claims))
