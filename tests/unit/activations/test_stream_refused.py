"""What cannot be captured is said in one line; rows that are not finite are counted."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from activation_networks import TokenNet
from streaming import REQUESTS, Killed, images, run
from torch import nn

from rra_cli.activations import npy
from rra_cli.activations.capture import Request, stream
from rra_cli.errors import UserError


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
