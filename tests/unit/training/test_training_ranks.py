"""Several processes that train one network: the joint batch's weights, one who writes, a clear end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rra_cli.errors import UserError
from rra_cli.training.ranks import Ranks, check_ranks, current, joined, own_device, started

DRIVER = Path(__file__).with_name("ranks_driver.py")


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("ranks")
    arguments = [sys.executable, str(DRIVER), str(folder), "supervised", "simclr", "moco_v2"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1]) | {"out": done.stdout}


@pytest.mark.long
@pytest.mark.parametrize("name", ["supervised", "simclr", "moco_v2"])
def test_two_processes_give_the_weights_of_one(driven: dict[str, Any], name: str) -> None:
    """A network without batch norm, to float32's rounding; half of every batch alone gives others (the control)."""
    assert driven[name]["codes"] == [0, 0, 0, 0]
    assert driven[name]["pair"] < 2e-5
    assert driven[name]["loss"] < 1e-5
    assert driven[name]["half"] > 50 * driven[name]["pair"]


def test_all_stop_when_one_is_asked_and_go_on_with_the_same_bits(driven: dict[str, Any]) -> None:
    assert driven["stopped"] == [1, 1], "Interrupted, which is no UserError, in both"
    assert driven["saved"]
    assert driven["resumed_codes"] == [0, 0]
    assert driven["resumed_equal"]


def test_a_process_that_dies_ends_the_other_with_a_clear_error(driven: dict[str, Any]) -> None:
    assert driven["dead"] == [2, 9]
    assert "USER process 0 of 2 lost another process of this training" in driven["out"]
    assert driven["dead_seconds"] < 60


def test_alone_nothing_is_averaged_and_nothing_is_sent() -> None:
    ranks = Ranks()
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([1.0, 2.0])
    ranks.average_gradients([weight])
    assert weight.grad.tolist() == [1.0, 2.0]
    assert ranks.any(True)
    assert not ranks.any(False)
    assert ranks.from_first(b"x") == b"x"
    with joined("cpu") as found:
        assert found == current() == Ranks()


@pytest.mark.parametrize(
    ("size", "wanted", "message", "hint"),
    [
        (
            1,
            2,
            "method.ranks is 2, but 1 process was started",
            "torchrun --nproc-per-node=2 -m rra_cli run ...",
        ),
        (4, 2, "method.ranks is 2, but 4 processes were started", "torchrun --nproc-per-node=2"),
        (2, 1, "method.ranks is 1, but 2 processes were started", "set method.ranks=2, or start it without torchrun"),
    ],
)
def test_another_number_of_processes_than_asked_for_is_refused_with_the_command(
    monkeypatch: pytest.MonkeyPatch, size: int, wanted: int, message: str, hint: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(size))
    with pytest.raises(UserError) as caught:
        check_ranks(wanted)
    assert caught.value.message == message
    assert hint in str(caught.value.hint)
    check_ranks(size)


def test_each_process_of_a_machine_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert own_device("cuda") == "cuda"
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert started() == Ranks(1, 2)
    assert own_device("cpu") == "cpu"
    with pytest.raises(UserError, match="process 1 of this machine has no GPU of its own: torch sees 1"):
        own_device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert own_device("cuda") == "cuda:0"
