"""The joint batch where there is one process; with two, see tests/oracle/test_oracle_joint_batch.py."""

from __future__ import annotations

import pytest
import torch

from rra_cli.methods.losses.joint import joint_rows, world_size


def test_one_process_has_the_joint_batch_already() -> None:
    """The very tensors come back, bfloat16 ones and labels included."""
    parts = torch.zeros(3, 2, dtype=torch.bfloat16, requires_grad=True), torch.arange(3)
    assert world_size() == 1
    assert all(found is part for found, part in zip(joint_rows(*parts), parts, strict=True))
    assert joint_rows() == ()


def test_tensors_of_one_call_have_the_same_rows() -> None:
    """Also where nothing is distributed, so that the mistake is found on one process."""
    with pytest.raises(ValueError, match=r"tensors of \[3, 4\] rows cannot be gathered together"):
        joint_rows(torch.zeros(3, 2), torch.zeros(4))
