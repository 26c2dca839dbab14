"""Graphs of different layers at the same time: one on each of several devices, or each by some of the threads.

A search of some thousand samples is a row of short steps, which few threads at a time can share: four threads are done
with four such searches in half the time when each takes one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

from rra_cli.core.progress import Progress, Reporter
from rra_cli.neighbors.arguments import workspace
from rra_cli.neighbors.threads import thread_count
from rra_cli.stages.device import set_threads
from rra_cli.stages.stage import Context, Cost, Stage, ensure

_MOST = 8  # searches at a time on one processor: beyond, they wait for each other's Python
_TOGETHER = 3 << 29  # bytes that they take: larger ones keep all threads busy by themselves

Begin = Callable[[int, Stage], None]


class _StoppedError(Exception):
    """Another search failed, or the run was interrupted."""


@dataclass(frozen=True)
class _Crew:
    """Who builds at the same time. devices: one for each. threads: that each uses; None are all, on devices."""

    devices: tuple[str, ...]
    threads: int | None


def searches_at_once(cost: Cost, threads: int, memory: int, searches: int) -> int:
    """How many of some searches of this cost go side by side on the processor: a power of two. memory: for all."""
    count, memory = 1, min(memory, _TOGETHER)
    while 2 * count <= min(_MOST, threads, searches) and 2 * count * cost.memory_bytes <= memory:
        count *= 2
    return count


def build_all(stages: Sequence[Stage], context: Context, begin: Begin) -> None:
    """Builds stages, those that can be side by side first; the others one after the other, in their order.

    begin: told the number of stages that were begun before, and the stage, one call at a time.
    """
    together = [stage for stage in stages if stage.concurrent]
    crews, done = list(_crews(together, context)), 0
    if any(len(crew.devices) > 1 for crew, _ in crews):
        # Layers are captured before, by one pass, so that no search waits for it.
        needs = dict.fromkeys(need for stage in together for need in stage.needs)
        for need in [need for need in needs if not need.done(context.store)]:
            begin(0, need)
            ensure(need, context)
    for crew, group in crews:
        if len(crew.devices) > 1:
            _build_by(crew, group, context, partial(_begin_after, done, begin))
        else:
            _one_by_one(group, context, begin, done)
        done += len(group)
    _one_by_one([stage for stage in stages if not stage.concurrent], context, begin, done)


def _begin_after(done: int, begin: Begin, count: int, stage: Stage) -> None:
    begin(done + count, stage)


def _one_by_one(stages: Sequence[Stage], context: Context, begin: Begin, done: int) -> None:
    for count, stage in enumerate(stages, done):
        begin(count, stage)
        ensure(stage, context)


def _crews(stages: Sequence[Stage], context: Context) -> Iterator[tuple[_Crew, list[Stage]]]:
    """Who builds which of the stages: one crew after the other, the one of the largest searches first."""
    devices = context.devices or (context.device,)
    if len(devices) > 1 or context.device != "cpu" or context.timed:
        if stages:
            yield _Crew(devices, None), list(stages)
        return
    threads, memory = thread_count(), workspace(context.memory)
    costs = [(stage.cost(), stage) for stage in stages]
    found = [(searches_at_once(cost, threads, memory, len(stages)), cost.seconds, stage) for cost, stage in costs]
    # The longest of a crew first, so that all end at the same time.
    found.sort(key=lambda each: (each[0], -each[1] if each[0] > 1 else 0.0))
    for count, members in groupby(found, key=lambda each: each[0]):
        group = [stage for _, _, stage in members]
        count = min(count, 1 << (len(group).bit_length() - 1))
        yield _Crew(("cpu",) * count, threads // count), group


def _build_by(crew: _Crew, stages: Sequence[Stage], context: Context, begin: Begin) -> None:
    """Builds stages with a thread for each member of a crew, who takes the next one when done with one.

    A graph in shards is given to every device: they share its shards as processes do. The memory is shared out. Where a
    search fails the others end at their next block, and its fault is raised.
    """
    count, all_threads = len(crew.devices), thread_count()
    jobs = iter([stage for stage in stages for _ in range(count if stage.shared and crew.threads is None else 1)])
    memory = context.memory if context.memory and crew.threads is None else workspace(context.memory) // count
    lock, stop, begun = threading.Lock(), threading.Event(), dict[Stage, None]()

    def next_job() -> Stage | None:
        with lock:
            stage = None if stop.is_set() else next(jobs, None)
            if stage is not None and stage not in begun:
                begin(len(begun), stage)
                begun[stage] = None
            return stage

    def work(device: str) -> None:
        set_threads(crew.threads)  # of this thread
        reporter = _Stoppable(context.reporter, stop)
        alone = context.alone and crew.threads is None
        mine = replace(context, device=device, devices=(device,), memory=memory, reporter=reporter, alone=alone)
        try:
            while (stage := next_job()) is not None:
                ensure(stage, mine)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(count, thread_name_prefix="graphs") as pool:
        running = [pool.submit(work, device) for device in crew.devices]
        try:
            wait(running)
        except BaseException:
            stop.set()  # interrupted
            raise
        finally:
            set_threads(all_threads)  # threads that start later begin with what was set last
    faults = [fault for future in running if (fault := future.exception()) is not None]
    faults.sort(key=lambda fault: isinstance(fault, _StoppedError))
    if faults:
        raise faults[0]


class _Stoppable:
    """A reporter whose tasks end, by an exception, at the first progress after `stop` was set."""

    def __init__(self, reporter: Reporter, stop: threading.Event) -> None:
        self._reporter, self._stop = reporter, stop
        self.note, self.warn = reporter.note, reporter.warn

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        with self._reporter.task(title) as inner:

            def progress(done: int, total: int, note: str = "") -> None:
                if self._stop.is_set():
                    raise _StoppedError(title)
                inner(done, total, note)

            yield progress
