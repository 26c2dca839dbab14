"""Two Gloo processes, each with a part of a batch, give the loss and the gradient of one process on the whole batch.

The oracle is one process without any distribution. Everything is computed once, by one pair of processes.
"""

from __future__ import annotations

from pathlib import Path

import joint_ranks
import pytest
import torch
from joint_ranks import LOSSES, SPLITS, N, after_steps, gradient, rank_main, trained_methods
from torch import multiprocessing

from rra_cli.training.ranks import Ranks

Found = list[dict[str, dict[str, torch.Tensor]]]
PARTS = [split for split, first in SPLITS.items() if first < N]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each of the two processes found."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(rank_main, args=(str(folder),), nprocs=2)
    return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(2)]


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient_are_those_of_one_process(ranks: Found, name: str, split: str) -> None:
    """With DistributedDataParallel's average; parts of unequal size, and a rank without rows, included."""
    expected = gradient(name, joint_ranks.joint_rows, slice(0, N), 1)
    assert expected["gradient"].abs().max() > 1e-3
    for found in ranks:
        assert close(found[f"{name} joint {split}"]["loss"], expected["loss"])
        assert close(found[f"{name} joint {split}"]["gradient"], expected["gradient"])


@pytest.mark.parametrize("split", PARTS)
@pytest.mark.parametrize("name", LOSSES)
def test_a_gather_without_the_sum_over_ranks_is_off_by_their_number(ranks: Found, name: str, split: str) -> None:
    """The known mistake, as a control: the loss is right and the gradient is half of what it should be."""
    expected = gradient(name, joint_ranks.joint_rows, slice(0, N), 1)
    for found in ranks:
        assert close(found[f"{name} own_gradient_only {split}"]["loss"], expected["loss"])
        assert close(found[f"{name} own_gradient_only {split}"]["gradient"], expected["gradient"] / 2)


@pytest.mark.parametrize("split", PARTS)
@pytest.mark.parametrize("name", LOSSES)
def test_without_a_gather_only_plain_means_of_equal_parts_are_right(ranks: Found, name: str, split: str) -> None:
    expected = gradient(name, joint_ranks.joint_rows, slice(0, N), 1)["gradient"]
    held = name in ("info_nce", "simsiam") and split == "4+4"
    assert close(ranks[0][f"{name} alone {split}"]["gradient"], expected) == held


@pytest.mark.parametrize("split", PARTS)
@pytest.mark.parametrize("name", trained_methods())
def test_two_steps_of_every_method_are_those_of_one_process(ranks: Found, name: str, split: str) -> None:
    """Weights, projector, momentum encoder and the queue with its order, as the training loop averages gradients."""
    expected = after_steps(name, slice(0, N), Ranks())
    for found in ranks:
        states = found[f"method {name} {split}"]
        assert states.keys() == expected.keys()
        for key, value in expected.items():
            assert torch.allclose(states[key], value, rtol=1e-9, atol=1e-12), key


def test_the_steps_move_the_weights_and_the_queue() -> None:
    """Control of the comparison above: it is not between two states that never changed."""
    for name in trained_methods():
        once = after_steps(name, slice(0, N), Ranks())
        fewer = after_steps(name, slice(0, N - 2), Ranks())
        assert not torch.allclose(once["encoder 1.weight"], fewer["encoder 1.weight"])
        if name == "moco_v2":
            assert int(once["objective place"]) == 2 * N
            assert not torch.allclose(once["objective queue"][:N], fewer["objective queue"][:N])
