"""What a run takes is known, and refused where there is less, before anything runs; a plan tells the same number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from planning import FREED, Watcher, experiment, runner

from rra_cli import pipeline
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet
from rra_cli.core import files
from rra_cli.core.resources import format_bytes
from rra_cli.core.rundir import RunDir
from rra_cli.core.store import Store
from rra_cli.errors import UserError
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.stages.lay_out import lay_out


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    return experiment(tmp_path)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Watcher]:
    return runner(tmp_path, monkeypatch)


@pytest.mark.long
@pytest.mark.parametrize("activations", [ActivationsConfig(), FREED])
def test_too_little_disk_is_refused_with_the_planned_number_before_anything_is_written(
    base: Experiment, run: Callable[..., Watcher], tmp_path: Path, activations: ActivationsConfig
) -> None:
    experiment = replace(base, activations=activations)
    needed = pipeline.plan(experiment).total.disk_bytes
    message = f"this run needs about {format_bytes(needed)}, {format_bytes(needed - 1)} are free"
    with pytest.raises(UserError, match=message):
        run(experiment, free=needed - 1)
    assert list(tmp_path.iterdir()) == []
    run(experiment, free=needed)
    run(experiment, "again", free=0)  # where all is there, nothing is needed


@pytest.mark.long
def test_a_pass_that_goes_on_does_not_ask_again_for_what_it_holds(
    base: Experiment, run: Callable[..., Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after two of three batches of the first network pass, it needs what is still to be written."""
    experiment = replace(base, activations=ActivationsConfig(batch_size=100))
    monkeypatch.setattr("rra_cli.activations.stream.NOTE_SECONDS", 0.0)
    before = pipeline.plan(experiment).total.disk_bytes
    batches = [0]

    def interrupt(name: str) -> None:
        if name == "capture: batch written":
            batches[0] += 1
            if batches[0] == 3 + 3:  # three of layer 0; the third of the network's is not noted
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "observers", [interrupt])
        with pytest.raises(KeyboardInterrupt):
            run(experiment)
    layout = lay_out(experiment)
    network = next(c for c in layout.captures if c.point.layer != "input" and c.point.split == "train")
    written = Store(base.store_root).held(network.capture_pass.spec)
    assert written > 0
    after = pipeline.plan(experiment).total.disk_bytes
    rows = {row.label: row for row in pipeline.plan(experiment).rows if row.state == "cached"}
    there = sum(row.disk_bytes for row in rows.values())
    assert there > 0
    assert after == before - there - written
    with pytest.raises(UserError, match="not enough disk"):
        run(experiment, "refused", free=after - 1)
    run(experiment, free=after)


def test_a_run_says_what_it_needs_unless_that_is_little(
    base: Experiment, run: Callable[..., Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(base, "little").notes == []
    monkeypatch.setattr(pipeline, "TINY", replace(pipeline.TINY, disk_bytes=10**5))
    assert run(base, "nothing").notes == []
    total = pipeline.plan(replace(base, seed=1)).total
    (note,) = run(replace(base, seed=1), "much").notes
    assert note.startswith(f"needs about {format_bytes(total.disk_bytes)} of disk, ")
    assert f"{format_bytes(total.memory_bytes)} of memory, about " in note


def test_a_second_run_frees_nothing_and_writes_nothing_for_it(
    base: Experiment, run: Callable[..., Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = replace(base, activations=FREED)
    seen: list[str] = []
    monkeypatch.setattr(files, "observers", [seen.append])
    run(experiment, "first")
    assert any(name.startswith("discard") for name in seen)
    assert not list(base.store_root.glob("capture/*"))
    note = next((base.store_root / "refs").iterdir()).name
    walks = len(lay_out(experiment).walks)
    assert seen.count(f"write {note}: begin") == 1 + walks, "one when it is planned, one a walk"
    seen.clear()
    run(experiment, "second")
    assert not any(name.startswith("discard") for name in seen)
    assert sum(name.startswith("write test_") or "_second-" in name for name in seen if "begin" in name) == 1


@pytest.mark.long
def test_what_is_there_and_still_read_is_not_released_from_the_start(
    base: Experiment, run: Callable[..., Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Activations that another run kept serve the graphs of a larger k; no other run may free them before."""
    run(base, "kept")
    captures = {f"capture/{capture.point.activations.key}" for capture in lay_out(base).captures}
    needed: list[frozenset[str]] = []
    walk = pipeline._walk

    def spy(*args: object) -> None:
        run_dir = args[-1]
        assert isinstance(run_dir, RunDir)
        needed.append(Store(base.store_root).references()[run_dir.id].needed & captures)
        walk(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "_walk", spy)
    nnls = MetricSet({"nnls": NNLS()})  # unlike TwoNN it reads all k neighbours
    run(replace(base, activations=FREED, neighbors=ExactEngine(k=7), metrics=nnls), "larger")
    run(replace(base, activations=FREED), "same")
    assert needed == [captures, frozenset()]
