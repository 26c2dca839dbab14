"""The streamed pass: equal to plain hooks, exact after any interruption, small in memory, clear when it cannot."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from activation_networks import InPlaceNet, TokenNet, reference_hooks
from torch import nn

from rra_cli.activations import npy
from rra_cli.activations import stream as stream_module
from rra_cli.activations.capture import Captured, Request, stream
from rra_cli.activations.pooling import Pooling
from rra_cli.core import files
from rra_cli.errors import UserError

N, BATCH = 50, 8
REQUESTS = [
    Request("input", ""),
    Request("stem", "stem"),
    Request("first", "blocks.0.relu@1"),
    Request("block", "blocks.0"),
    Request("head", "head"),
]


def network() -> InPlaceNet:
    torch.manual_seed(0)
    net = InPlaceNet()
    for norm in (net.blocks[0].norm, net.blocks[1].norm):
        norm.running_mean.normal_()
    return net


def images(n: int = N) -> torch.Tensor:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def run(work: Path, net: nn.Module | None = None, requests: list[Request] = REQUESTS, **options) -> dict:
    x = options.pop("x", None)
    x = images() if x is None else x
    options = {"batch_size": BATCH, "device": "cpu", **options}
    return stream(net or network(), lambda start, stop: x[start:stop].clone(), len(x), requests, work, **options)


def contents(captured: dict[Request, Captured]) -> dict[Request, bytes]:
    return {request: result.path.read_bytes() for request, result in captured.items()}


@pytest.fixture
def note_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "NOTE_SECONDS", 0.0)


@pytest.fixture
def boundaries() -> Iterator[list[Callable[[str], None]]]:
    before = list(files.observers)
    yield files.observers
    files.observers[:] = before


def test_equals_plain_hooks_in_a_network_that_overwrites_everything(tmp_path: Path) -> None:
    captured = run(tmp_path)
    net = network()
    expected = reference_hooks(net, images(), BATCH)
    by_name = {
        "input": images(),
        "stem": expected["stem"][0],
        "first": expected["blocks.0.relu"][0],
        "block": expected["blocks.0"][0],
        "head": expected["head"][0],
    }
    for request, result in captured.items():
        found = np.load(result.path, mmap_mode="r", allow_pickle=False)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, by_name[request.layer].flatten(1).numpy(), err_msg=request.layer)
        assert result.nonfinite_rows == 0
    # Negative control: without copying at once the stem would hold what the in-place ReLU after it left there.
    assert (np.load(captured[REQUESTS[1]].path) < 0).any()
    assert not (np.load(captured[REQUESTS[2]].path) < 0).any()


def test_poolings_of_one_module_share_the_pass(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, x = TokenNet(), torch.randn(20, 3, 4)
    requests = [Request("norm", "norm", Pooling(pool)) for pool in ("none", "cls", "mean", "last")]
    requests += [Request("lstm", "lstm"), Request("head", "head", Pooling("cls"))]
    calls = []
    net.register_forward_pre_hook(lambda *_: calls.append(1))
    captured = run(tmp_path, net, requests, x=x)
    assert len(calls) == 3
    arrays = [np.load(captured[request].path) for request in requests]
    tokens = arrays[0].reshape(20, 3, 4)
    np.testing.assert_array_equal(arrays[1], tokens[:, 0])
    np.testing.assert_allclose(arrays[2], tokens.mean(axis=1), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(arrays[3], tokens[:, 2])
    assert [array.shape for array in arrays[4:]] == [(20, 12), (20, 2)]


def test_the_network_is_left_as_it_was(tmp_path: Path) -> None:
    net = network().train()
    state = {key: value.clone() for key, value in net.state_dict().items()}
    generator = torch.get_rng_state()
    run(tmp_path, net)
    assert net.training
    assert net.drop.training
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert not any(child._forward_hooks for child in net.modules())


def test_hooks_and_mode_are_restored_when_the_network_fails(tmp_path: Path) -> None:
    net = network().train()
    net.head = nn.Linear(1, 1)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(tmp_path, net)
    assert net.training
    assert not any(child._forward_hooks for child in net.modules())


class Killed(BaseException):
    """Stands for a kill: nothing in the product catches it to tidy up."""


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
import test_stream
from rra_cli.core import files
test_stream.stream_module.NOTE_SECONDS = 0.0
at, count = sys.argv[2], int(sys.argv[3])
def kill(name):
    global count
    count -= name == at
    if count == 0:
        os.kill(os.getpid(), signal.SIGKILL)
files.observers.append(kill)
test_stream.run(Path(sys.argv[1]))
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


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    """Python and numpy memory by tracemalloc, torch's by the peak of this process: 80 MB of layers pass through 10."""
    n, features, batch = 20_000, 500, 200
    code = f"""
import resource, sys
from pathlib import Path
import torch
from torch import nn
from rra_cli.activations.capture import Request, stream
torch.set_num_threads(1)
net = nn.Sequential(nn.Linear(4, {features}), nn.ReLU(inplace=True))
requests = [Request("a", "0"), Request("b", "1")]
def go(n, name):
    work = Path(sys.argv[1]) / name
    stream(net, lambda a, b: torch.ones(b - a, 4), n, requests, work, batch_size={batch}, device="cpu")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
warm = go({batch} * 2, "warm")
print(go({n}, "large") - warm)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    written = sum(path.stat().st_size for path in (tmp_path / "large").glob("*/activations.npy"))
    assert written > 80_000_000
    assert int(done.stdout) < 10_000_000


def test_numpy_memory_is_that_of_one_layer_of_a_batch(tmp_path: Path) -> None:
    net, x = nn.Sequential(nn.Linear(4, 1000)), torch.ones(2000, 4)
    run(tmp_path / "warm", net, [Request("a", "0")], x=x[:16])
    tracemalloc.start()
    run(tmp_path / "a", net, [Request("a", "0")], x=x, batch_size=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000  # the layer is 8 MB


def test_float16(tmp_path: Path) -> None:
    wide, narrow = contents(run(tmp_path / "wide")), run(tmp_path / "narrow", dtype="float16")
    for request, result in narrow.items():
        found = np.load(result.path)
        assert found.dtype == np.float16
        (tmp_path / "wide.npy").write_bytes(wide[request])
        np.testing.assert_array_equal(found, np.load(tmp_path / "wide.npy").astype(np.float16))


def test_float16_overflow_is_refused_with_the_layer_and_the_number(tmp_path: Path) -> None:
    x = images()
    x[20, 0, 3, 3] = 70000.0
    with pytest.raises(UserError) as caught:
        run(tmp_path, requests=[Request("input", "")], x=x, dtype="float16")
    assert caught.value.message == "layer 'input' holds 70000, which overflows float16 (largest 65504)"
    assert caught.value.hint == "use activations.dtype=float32"
    # Negative control: what float16 still holds, and what was infinite before, is no overflow.
    x[20, 0, 3, 3] = 65504.0
    x[21, 0, 3, 3] = float("inf")
    assert run(tmp_path, requests=[Request("input", "")], x=x, dtype="float16").popitem()[1].nonfinite_rows == 1


@pytest.mark.usefixtures("note_every_batch")
def test_rows_that_are_not_finite_are_counted_once_each_also_after_a_kill(tmp_path: Path, boundaries: list) -> None:
    x = images()
    x[3, 0, 0, :2] = float("nan")
    x[30, 0, 1, 1] = float("inf")
    x[49, 0, 1, 1] = float("-inf")
    requests = [Request("input", ""), Request("zero", "0")]

    class Zero(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(torch.nan_to_num(x) * 0)

    net = Zero(nn.Flatten())
    for kill_at in (None, 2, 5):
        work = tmp_path / str(kill_at)
        if kill_at is not None:
            count = iter(range(100))

            def stop(name: str, count: Iterator[int] = count, kill_at: int = kill_at) -> None:
                if name == "capture: batch written" and next(count) == kill_at:
                    raise Killed

            boundaries[:] = [stop]
            with pytest.raises(Killed):
                run(work, net, requests, x=x)
            boundaries.clear()
        captured = run(work, net, requests, x=x)
        assert [result.nonfinite_rows for result in captured.values()] == [3, 0]


@pytest.mark.parametrize(
    ("module", "message", "hint"),
    [
        ("blocks.0.relu", "module 'blocks.0.relu' is called 2 times in one forward pass; expected once", "relu@2"),
        ("blocks.0.relu@3", "blocks.0.relu@3 asks for call 3 of a module that is called 2 times", "relu@1 to blocks"),
        ("head@2", "head@2 asks for call 2 of a module that is called 1 times", "use head"),
        ("unused", "module 'unused' is never called in the forward pass", "name a module that"),
        ("haed", "the network has no module 'haed': did you mean 'head'?", "named_modules"),
    ],
)
def test_modules_that_cannot_be_captured(tmp_path: Path, module: str, message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        run(tmp_path, requests=[Request("layer", module)])
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_outputs_that_cannot_be_captured(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        run(tmp_path, TokenNet(), [Request("a", "attention")], x=torch.randn(9, 3, 4))
    assert caught.value.message == (
        "module 'attention' cannot be captured: its output is a tuple of 2 tensors, expected one"
    )
    with pytest.raises(UserError, match=r"its output has shape \(3, 4\), expected one row for each of the 8 samples"):
        run(tmp_path, TokenNet(), [Request("a", "position")], x=torch.randn(9, 3, 4))


def test_features_that_change_between_batches(tmp_path: Path) -> None:
    def batches(start: int, stop: int) -> torch.Tensor:
        return torch.zeros(stop - start, 3 if start == 0 else 4)

    with pytest.raises(UserError, match="layer 'a' has 3 features in one batch and 4 in another"):
        stream(nn.Identity(), batches, 8, [Request("a", "")], tmp_path, batch_size=4, device="cpu")


def test_a_full_disk_is_one_clear_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(npy, "write_rows", full)
    with pytest.raises(UserError, match="disk full: could not write"):
        run(tmp_path)


def test_layer_names_that_no_file_system_likes(tmp_path: Path) -> None:
    names = ["a/b", "..", "a:b", "A:B", "ä" * 200, "ä" * 201, "a", "a\0b", "con"]
    captured = run(tmp_path, nn.Sequential(nn.Flatten()), [Request(name, "0") for name in names])
    folders = {result.path.parent for result in captured.values()}
    assert len({folder.name.casefold() for folder in folders}) == len(names)
    assert all(folder.parent == tmp_path and len(folder.name.encode()) < 255 for folder in folders)


def test_our_own_mistakes_are_not_the_users(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dtype must be float32 or float16"):
        run(tmp_path, dtype="int8")
    with pytest.raises(ValueError, match="requests"):
        run(tmp_path, requests=[REQUESTS[0], REQUESTS[0]])
    with pytest.raises(ValueError, match="asked for samples 48 to 60, got 2"):
        stream(nn.Identity(), lambda a, b: images()[a:b], 60, REQUESTS[:1], tmp_path, batch_size=12, device="cpu")
