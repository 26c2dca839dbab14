"""Graphs at the same time, on devices that exist by name only and by threads of the processor: who searched what where,
and when.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, Runtime, StoreConfig
from rra_cli.core.progress import Progress, silent
from rra_cli.core.store import Store
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.augment import NoAugment
from rra_cli.methods.none import NoTraining
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.engine import ShardedEngine
from rra_cli.neighbors.exact import ExactEngine, exact_neighbors
from rra_cli.neighbors.graph import InputError, NeighborGraph
from rra_cli.neighbors.nn_descent import PynndescentEngine
from rra_cli.stages.device import side_by_side
from rra_cli.stages.graphs.side_by_side import build_all, searches_at_once
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.stage import Context, Cost
from rra_cli.training.optimizer import SGD

N, K, LAYERS = 24, 4, 4
DEVICES = ("cuda:0", "cuda:1")


@dataclass(frozen=True)
class OnDevices(ShardedEngine):
    """The exact search on the CPU, which notes device, memory and how many searches ran at the same time."""

    name: ClassVar[str] = "on_devices"
    uses_device: ClassVar[bool] = True
    lock: ClassVar[threading.Lock] = threading.Lock()
    devices: ClassVar[list[str]] = []
    memories: ClassVar[list[int | None]] = []
    running: ClassVar[list[str]] = []
    threads: ClassVar[list[int]] = []
    most: ClassVar[list[int]] = []
    during: ClassVar[Any] = None

    @property
    def prefix_stable(self) -> bool:
        return True

    def search(self, activations: np.ndarray, k: int, **others: Any) -> NeighborGraph:
        self._meet(others)
        return replace(exact_neighbors(activations, k), engine=self.name)

    def search_rows(
        self, activations: np.ndarray, k: int, start: int, stop: int, **others: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        self._meet(others)
        graph = exact_neighbors(activations, k)
        return graph.indices[start:stop], graph.distances[start:stop]

    def _meet(self, others: dict[str, Any]) -> None:
        with self.lock:
            self.devices.append(others["device"])
            self.memories.append(others["memory"])
            self.running.append(others["device"])
            self.most.append(len(self.running))
            self.threads.append(torch.get_num_threads())
            there = [device for device in self.running if device != "cpu"]
            assert len(set(there)) == len(there), "two searches on one device"
        try:
            if OnDevices.during is not None:
                OnDevices.during(others)
        finally:
            with self.lock:
                self.running.remove(others["device"])


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    before = torch.get_num_threads()
    for noted in (OnDevices.devices, OnDevices.memories, OnDevices.running, OnDevices.most, OnDevices.threads):
        noted.clear()
    torch.set_num_threads(1)  # one search at a time on the processor, unless a test says otherwise
    yield
    OnDevices.during = None
    torch.set_num_threads(before)


class Quiet:
    """A reporter that shows nothing."""

    def task(self, title: str) -> Any:
        from contextlib import nullcontext

        progress: Progress = silent
        return nullcontext(progress)

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    monkeypatch.setattr(pipeline, "render", lambda *args, **kwargs: [])
    folder = tmp_path / "layers"
    folder.mkdir()
    for index in range(LAYERS):
        np.save(folder / f"{index:03d}_layer{index}.npy", np.random.default_rng(index).normal(size=(N, 3)))
    return Experiment(
        name="test",
        seed=0,
        dataset=ActivationFiles(splits=("test",)),
        model=MLP(),
        method=NoTraining(),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=OnDevices(k=K),
        metrics=MetricSet({"id_twonn": TwoNN(), "nnls": NNLS()}),
        activations=ActivationsConfig(path=str(folder)),
        runtime=Runtime(device="cpu"),
        store=StoreConfig(str(tmp_path / "store")),
    )


def tables(experiment: Experiment, folder: Path) -> dict[str, bytes]:
    pipeline.run(experiment, folder, Quiet(), config={"folder": folder.name})
    return {path.name: path.read_bytes() for path in (folder / "tables").iterdir()}


def on(monkeypatch: pytest.MonkeyPatch, *devices: str) -> None:
    monkeypatch.setattr(pipeline, "side_by_side", lambda device: devices)


def test_two_devices_search_at_the_same_time_and_the_tables_are_the_same(
    base: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every search waits for one on the other device: with one at a time, none would ever end."""
    alone = tables(replace(base, store=StoreConfig(str(tmp_path / "alone"))), tmp_path / "one")
    assert OnDevices.devices == ["cpu"] * LAYERS
    assert set(OnDevices.most) == {1}
    OnDevices.devices.clear()
    meeting = threading.Barrier(2)
    OnDevices.during = lambda others: meeting.wait(20)
    on(monkeypatch, *DEVICES)
    assert tables(base, tmp_path / "two") == alone
    assert sorted(OnDevices.devices) == sorted(2 * DEVICES)
    assert max(OnDevices.most) == 2


def test_the_devices_share_the_shards_of_one_graph(
    base: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One graph in two shards: both are searched at the same time."""
    one = replace(base, activations=replace(base.activations, layers=("layer0",)), metrics=MetricSet({"i": TwoNN()}))
    meeting = threading.Barrier(2)
    OnDevices.during = lambda others: meeting.wait(20)
    on(monkeypatch, *DEVICES)
    tables(replace(one, neighbors=OnDevices(k=K, shards=2)), tmp_path / "run")
    assert sorted(OnDevices.devices) == list(DEVICES)


def test_the_default_memory_is_shared_out_and_a_given_one_is_that_of_a_search(
    base: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, *DEVICES)
    monkeypatch.setattr("rra_cli.neighbors.arguments.free_memory", lambda: 8000)
    tables(base, tmp_path / "shared")
    assert set(OnDevices.memories) == {1000}
    OnDevices.memories.clear()
    given = replace(base, runtime=Runtime(device="cpu", memory=4321), store=StoreConfig(str(tmp_path / "given")))
    tables(given, tmp_path / "given-run")
    assert set(OnDevices.memories) == {4321}


def test_a_fault_on_one_device_ends_the_others_and_is_the_one_that_is_raised(
    base: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Barrier(2)

    def during(others: dict[str, Any]) -> None:
        begun.wait(20)
        if others["device"] == "cuda:0":
            raise InputError("too large for this device")
        for step in range(10**9):
            others["progress"](step, 10**9)

    OnDevices.during = during
    on(monkeypatch, *DEVICES)
    with pytest.raises(InputError, match="too large for this device"):
        tables(base, tmp_path / "run")
    assert len(OnDevices.devices) == 2, "nothing new is begun"
    assert not any(stage.done(Store(base.store_root)) for stage in lay_out(base).graphs)
    # Nobody holds what was begun: the same run again goes through.
    OnDevices.during = None
    assert tables(base, tmp_path / "run")


def test_an_interruption_ends_all_searches(base: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(futures: Any) -> None:
        while len(OnDevices.running) < 2:
            pass
        raise KeyboardInterrupt

    def endless(others: dict[str, Any]) -> None:
        for step in range(10**9):
            others["progress"](step, 10**9)

    OnDevices.during = endless
    monkeypatch.setattr("rra_cli.stages.graphs.side_by_side.wait", interrupted)
    on(monkeypatch, *DEVICES)
    with pytest.raises(KeyboardInterrupt):
        tables(base, tmp_path / "run")
    assert OnDevices.running == []


def test_an_engine_of_the_cpu_searches_one_graph_after_the_other(
    base: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not PynndescentEngine.uses_device
    assert ExactEngine.uses_device
    monkeypatch.setattr(OnDevices, "uses_device", False)
    on(monkeypatch, *DEVICES)
    tables(base, tmp_path / "run")
    assert set(OnDevices.most) == {1}
    assert set(OnDevices.devices) == {"cpu"}


def test_threads_of_the_processor_search_at_the_same_time_and_the_tables_are_the_same(
    base: Experiment, tmp_path: Path
) -> None:
    """Four threads, four layers: each search has one thread, and waits for the three others."""
    alone = tables(replace(base, store=StoreConfig(str(tmp_path / "alone"))), tmp_path / "one")
    assert set(OnDevices.most) == {1}, "the control: of one thread nothing is shared"
    OnDevices.threads.clear()
    meeting = threading.Barrier(4)
    OnDevices.during = lambda others: meeting.wait(20)
    torch.set_num_threads(4)
    assert tables(base, tmp_path / "four") == alone
    assert max(OnDevices.most) == 4
    assert OnDevices.threads == [1] * LAYERS
    assert torch.get_num_threads() == 4, "afterwards all threads are there again"
    assert ThreadPoolExecutor(1).submit(torch.get_num_threads).result() == 4, "and for threads that start then"


def test_fewer_layers_have_more_threads_each(base: Experiment, tmp_path: Path) -> None:
    two = replace(base, activations=replace(base.activations, layers=("layer0", "layer1")))
    meeting = threading.Barrier(2)
    OnDevices.during = lambda others: meeting.wait(20)
    torch.set_num_threads(4)
    tables(two, tmp_path / "run")
    assert OnDevices.threads == [2, 2]


def test_the_memory_of_the_processor_is_shared_out_whoever_said_how_much(base: Experiment, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    given = replace(base, runtime=Runtime(device="cpu", memory=10**7))
    tables(given, tmp_path / "run")
    assert set(OnDevices.memories) == {10**7 // 2}


def test_where_times_are_asked_for_one_searches_at_a_time(base: Experiment, tmp_path: Path) -> None:
    """Of searches that share the processor no time is kept: it would tell of the others."""
    torch.set_num_threads(4)
    for timed, most in ((False, 4), (True, 1)):
        meeting = threading.Barrier(most)
        OnDevices.during = lambda others, meeting=meeting: meeting.wait(20)
        OnDevices.most.clear()
        experiment = replace(base, store=StoreConfig(str(tmp_path / f"timed-{timed}")))
        store, graphs = Store(experiment.store_root), lay_out(experiment).graphs
        build_all(graphs, Context(store, Quiet(), "cpu", None, timed=timed), lambda done, stage: None)
        assert max(OnDevices.most) == most
        assert [graph.seconds(store) is not None for graph in graphs] == [timed] * LAYERS


@pytest.mark.parametrize(
    ("bytes_each", "threads", "memory", "searches", "count"),
    [
        (1, 1, 10**9, 9, 1),  # one thread
        (1, 4, 10**9, 9, 4),
        (1, 6, 10**9, 9, 4),  # a power of two
        (1, 64, 10**9, 99, 8),  # no more than eight
        (1, 8, 10**9, 3, 2),  # no more than there are
        (3 * 10**8, 4, 10**9, 9, 2),  # what the memory holds
        (6 * 10**8, 4, 10**9, 9, 1),
        (10**9, 4, 10**12, 9, 1),  # large searches keep all threads busy
    ],
)
def test_how_many_searches_share_the_processor(
    bytes_each: int, threads: int, memory: int, searches: int, count: int
) -> None:
    assert searches_at_once(Cost(memory_bytes=bytes_each), threads, memory, searches) == count


def test_all_visible_devices_share_what_is_asked_of_cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert side_by_side("cuda") == ("cuda:0", "cuda:1", "cuda:2")
    assert side_by_side("cuda:1") == ("cuda:1",)
    assert side_by_side("cpu") == ("cpu",)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert side_by_side("cuda") == ("cuda",)
