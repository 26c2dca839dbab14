"""Graphs of different layers at the same time, one on each of several devices."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace

from rra_cli.core.progress import Progress, Reporter
from rra_cli.core.resources import free_memory
from rra_cli.stages.graph import GraphStage
from rra_cli.stages.stage import Context, ensure


class _StoppedError(Exception):
    """Another device's search failed, or the run was interrupted."""


def build_side_by_side(
    graphs: Sequence[GraphStage], context: Context, begin: Callable[[int, GraphStage], None]
) -> None:
    """Builds graphs with a thread for each of `context.devices`, each taking the next graph when it is done with one.

    A graph in shards is given to every device: they share its shards as processes do. begin: told the number of graphs
    that were begun before, and the graph, one call at a time. Layers are captured first, on `context.device`, all of
    them by one pass. Without a memory budget in `context`, the default is shared out. Where a search fails the others
    end at their next block, and its fault is raised.
    """
    for graph in graphs:
        for need in graph.needs:
            ensure(need, context)
    devices = context.devices
    jobs = iter([graph for graph in graphs for _ in range(len(devices) if graph.shards.count > 1 else 1)])
    memory = free_memory() // (4 * len(devices)) if context.memory is None else context.memory
    lock, stop, begun = threading.Lock(), threading.Event(), dict[GraphStage, None]()

    def next_job() -> GraphStage | None:
        with lock:
            graph = None if stop.is_set() else next(jobs, None)
            if graph is not None and graph not in begun:
                begin(len(begun), graph)
                begun[graph] = None
            return graph

    def work(device: str) -> None:
        reporter = _Stoppable(context.reporter, stop)
        mine = replace(context, device=device, devices=(device,), memory=memory, reporter=reporter)
        try:
            while (graph := next_job()) is not None:
                ensure(graph, mine)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(len(devices), thread_name_prefix="graphs") as pool:
        running = [pool.submit(work, device) for device in devices]
        try:
            wait(running)
        except BaseException:
            stop.set()  # interrupted
            raise
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
