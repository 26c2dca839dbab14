"""A pass that was interrupted goes on to the same bytes; over damaged or other work it starts anew."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from streaming import BATCH, REQUESTS, Killed, N, contents, images, network, run
from torch import nn

from rra_cli.activations.capture import Request, stream


@pytest.mark.usefixtures("note_every_batch")
def test_stopped_at_any_boundary_it_goes_on_to_the_same_bytes(tmp_path: Path, boundaries: list) -> None:
    x, requests = images(20), [REQUESTS[0], REQUESTS[2]]
    undisturbed = contents(run(tmp_path / "whole", x=x, requests=requests))
    names: list[str] = []
    boundaries.append(names.append)
    run(tmp_path / "counted", x=x, requests=requests)
    assert {"capture: batch written", "capture: rows flushed", "write progress.json: renamed"} <= set(names)
    boundaries.clear()
    for stop_at in range(len(names)):
        seen = 0

        def stop(name: str, stop_at: int = stop_at) -> None:
            nonlocal seen
            seen += 1
            if seen == stop_at + 1:
                raise Killed

        boundaries[:] = [stop]
        work = tmp_path / f"work{stop_at}"
        with pytest.raises(Killed):
            run(work, x=x, requests=requests)
        boundaries.clear()
        starts = []
        assert (
            contents(run(work, x=x, requests=requests, progress=lambda done, total, note, at=starts: at.append(done)))
            == undisturbed
        )
        # It goes on rather than over: all batches but the last one at most were noted before.
        noted = sum(name == "write progress.json: renamed" for name in names[: stop_at + 1])
        assert starts[0] in (min(20, noted * BATCH), min(20, max(0, noted - 1) * BATCH))


CHILD = """
import os, signal, sys
sys.path.insert(0, {here!r})
from pathlib import Path
import streaming
from rra_cli.activations import stream
from rra_cli.core import files
stream.NOTE_SECONDS = 0.0
at, count = sys.argv[2], int(sys.argv[3])
def kill(name):
    global count
    count -= name == at
    if count == 0:
        os.kill(os.getpid(), signal.SIGKILL)
files.observers.append(kill)
streaming.run(Path(sys.argv[1]))
"""


@pytest.mark.long
def test_killed_three_times_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    undisturbed = contents(run(tmp_path / "whole"))
    code = CHILD.format(here=str(Path(__file__).parent))
    work = tmp_path / "work"
    for at, count in [("capture: batch written", 3), ("capture: rows flushed", 2), ("write progress.json: flushed", 1)]:
        done = subprocess.run([sys.executable, "-c", code, str(work), at, str(count)], capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert json.loads((work / "progress.json").read_text())["rows"] == 3 * BATCH
    starts: list[int] = []
    assert contents(run(work, progress=lambda done, total, note: starts.append(done))) == undisturbed
    assert starts == [24, 32, 40, 48, 50]


def test_a_finished_pass_is_not_run_again(tmp_path: Path) -> None:
    first = contents(run(tmp_path))

    def fail(start: int, stop: int) -> torch.Tensor:
        raise AssertionError("no batch is needed")

    again = stream(network(), fail, N, REQUESTS, tmp_path, batch_size=BATCH, device="cpu")
    assert contents(again) == first


@pytest.mark.usefixtures("note_every_batch")
def test_fewer_requests_go_on_and_others_are_removed(tmp_path: Path, boundaries: list) -> None:
    """A layer that was published is gone from the work folder; the pass goes on for those that remain."""
    whole = contents(run(tmp_path / "whole"))
    work = tmp_path / "work"
    half_done(work, boundaries)
    stem = next(work.glob("stem*"))
    os.rename(stem, tmp_path / "published")
    starts: list[int] = []
    found = run(work, requests=REQUESTS[3:], progress=lambda done, total, note: starts.append(done))
    assert starts[0] == 2 * BATCH
    assert contents(found) == {request: whole[request] for request in REQUESTS[3:]}
    assert sorted(path.name.split("-")[0] for path in work.iterdir()) == ["block", "head", "progress.json"]


def half_done(work: Path, boundaries: list) -> None:
    count = 0

    def stop(name: str) -> None:
        nonlocal count
        count += name == "capture: batch written"
        if count == 3:
            raise Killed

    boundaries[:] = [stop]
    with pytest.raises(Killed):
        run(work)
    boundaries.clear()
    assert json.loads((work / "progress.json").read_text())["rows"] == 2 * BATCH


def cut(work: Path) -> None:
    path = next(work.glob("head*/activations.npy"))
    os.truncate(path, path.stat().st_size - 1)


def lose(work: Path) -> None:
    next(work.glob("head*/activations.npy")).unlink()


def scribble(work: Path) -> None:
    (work / "progress.json").write_text('{"rows": 16')


def overstate(work: Path) -> None:
    noted = json.loads((work / "progress.json").read_text())
    (work / "progress.json").write_text(json.dumps({**noted, "rows": 17}))


def other_header(work: Path) -> None:
    path = next(work.glob("head*/activations.npy"))
    np.save(path, np.load(path).astype(np.float64))


@pytest.mark.usefixtures("note_every_batch")
@pytest.mark.parametrize("damage", [cut, lose, scribble, overstate, other_header])
def test_a_damaged_work_folder_starts_over(tmp_path: Path, boundaries: list, damage: Callable[[Path], None]) -> None:
    whole = contents(run(tmp_path / "whole"))
    work = tmp_path / "work"
    half_done(work, boundaries)
    (work / "lease").write_text("not ours")
    damage(work)
    starts: list[int] = []
    assert contents(run(work, progress=lambda done, total, note: starts.append(done))) == whole
    assert starts[0] == 0
    assert (work / "lease").read_text() == "not ours"


@pytest.mark.usefixtures("note_every_batch")
@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 16},
        {"dtype": "float16"},
        {"x": images(N + 1)},
        {"requests": [*REQUESTS, Request("drop", "drop")]},
        {"requests": [Request("stem", "blocks.1")]},
    ],
)
def test_a_changed_pass_starts_over(tmp_path: Path, boundaries: list, change: dict) -> None:
    whole = contents(run(tmp_path / "whole", **change))
    work = tmp_path / "work"
    half_done(work, boundaries)
    starts: list[int] = []
    assert contents(run(work, **change, progress=lambda done, total, note: starts.append(done))) == whole
    assert starts[0] == 0
    assert len(list(work.glob("*/activations.npy"))) == len(whole)


@pytest.mark.usefixtures("note_every_batch")
def test_a_network_that_draws_random_numbers_is_resumed_exactly(tmp_path: Path, boundaries: list) -> None:
    class Noisy(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x + torch.rand_like(x))

    net, requests = Noisy(nn.Flatten()), [Request("flat", "0")]
    whole = contents(run(tmp_path / "whole", net, requests))
    count = iter(range(100))

    def stop(name: str) -> None:
        if name == "capture: batch written" and next(count) == 3:
            raise Killed

    boundaries.append(stop)
    with pytest.raises(Killed):
        run(tmp_path / "work", net, requests)
    boundaries.clear()
    torch.rand(5)
    assert contents(run(tmp_path / "work", net, requests)) == whole
