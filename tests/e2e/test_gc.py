"""`rra gc` against real runs: unfinished ones, single shards, freed activations; nothing that they need is removed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from killing import Quiet
from stress import job

from rra_cli import pipeline
from rra_cli.config.experiment import ActivationsConfig, Experiment
from rra_cli.core import files
from rra_cli.core.collect import collect
from rra_cli.core.store import Store
from rra_cli.neighbors.exact import ExactEngine


class Stop(Exception):
    """Ends a run at a boundary, as a fault does."""


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "render", lambda *args, **kwargs: [])
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # which only costs time here


def run(wanted: Experiment, folder: Path) -> None:
    pipeline.run(wanted, folder, Quiet(), config={"folder": folder.name})


def stopped(wanted: Experiment, folder: Path, at: Callable[[str], bool]) -> None:
    """The run, ended where a boundary's name says so."""

    def observe(name: str) -> None:
        if at(name):
            raise Stop

    files.observers.append(observe)
    try:
        with pytest.raises(Stop):
            run(wanted, folder)
    finally:
        files.observers.remove(observe)


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "tables").rglob("*.*")}


def gone(root: Path) -> list[str]:
    """What gc removes but the trash, everything being old enough."""
    return [f"{item.kind} {item.path}" for item in collect(Store(root / "store")).removed if item.kind != "trash"]


@pytest.mark.long
def test_a_run_stopped_anywhere_loses_nothing_to_gc(tmp_path: Path) -> None:
    wanted = job(tmp_path, 0, 4)
    places: dict[str, Callable[[str], bool]] = {
        "in training": lambda name: name.startswith("publish epoch_") and name.endswith("flushed"),
        "in the capture": lambda name: name == "capture: rows flushed",
        "in the graphs": lambda name: name.startswith("publish k=") and name.endswith("renamed"),
    }
    for place, at in places.items():
        stopped(wanted, tmp_path / "run", at)
        assert gone(tmp_path) == [], place
    run(wanted, tmp_path / "run")
    assert gone(tmp_path) == []
    run(wanted, tmp_path / "again")
    assert tables(tmp_path / "run") == tables(tmp_path / "again")


@pytest.mark.long
def test_shards_of_an_unfinished_graph_stay(tmp_path: Path) -> None:
    wanted = job(tmp_path, 0, 4)
    for shard in (0, 1):
        run(replace(wanted, neighbors=ExactEngine(k=4, shards=3, shard=shard)), tmp_path / f"shard{shard}")
    shards = sorted((tmp_path / "store" / "graph_shard").glob("*/*"))
    assert shards
    assert gone(tmp_path) == []
    assert sorted((tmp_path / "store" / "graph_shard").glob("*/*")) == shards
    shutil.rmtree(tmp_path / "shard0")
    assert gone(tmp_path) == []  # the other run refers to them, too
    run(replace(wanted, neighbors=ExactEngine(k=4, shards=3)), tmp_path / "run")
    run(replace(job(tmp_path / "calm", 0, 4), neighbors=ExactEngine(k=4)), tmp_path / "calm" / "run")
    assert tables(tmp_path / "run") == tables(tmp_path / "calm" / "run")


@pytest.mark.long
def test_the_last_run_that_is_deleted_leaves_an_empty_store(tmp_path: Path) -> None:
    one, two = job(tmp_path, 0, 4), job(tmp_path, 1, 4)
    run(one, tmp_path / "one")
    run(two, tmp_path / "two")
    before = tables(tmp_path / "two")
    shutil.rmtree(tmp_path / "one")
    assert {name.split()[0] for name in gone(tmp_path)} >= {"train", "capture", "graph", "measure"}
    (tmp_path / "two" / "status.json").write_text("{}")  # so that it is walked again
    run(two, tmp_path / "two")
    assert tables(tmp_path / "two") == before
    shutil.rmtree(tmp_path / "two")
    gone(tmp_path)
    left = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path / "store").parts[0] for path in left} <= {"cache"}


@pytest.mark.long
def test_activations_that_a_run_freed_are_nobodys(tmp_path: Path) -> None:
    run(replace(job(tmp_path, 0, 4), activations=ActivationsConfig(keep="until_measured")), tmp_path / "run")
    assert gone(tmp_path) == []
    assert not list((tmp_path / "store").glob("capture/*"))
