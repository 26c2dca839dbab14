"""Seeds depend on root and purpose alone; inside the context nothing else decides."""

from __future__ import annotations

import hashlib
import os
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rra_cli.core.reproducibility import derive_seed, seed_everything

PURPOSES = st.lists(st.text(max_size=8) | st.integers(), max_size=4)


@given(st.integers(), PURPOSES, st.integers(), PURPOSES)
def test_different_purposes_have_different_seeds(
    root: int, purpose: list[str | int], other: int, others: list[str | int]
) -> None:
    one, two = derive_seed(root, *purpose), derive_seed(other, *others)
    assert 0 <= one < 2**63
    assert (one == two) == ((root, purpose) == (other, others))


def test_a_seed_is_the_same_everywhere() -> None:
    """Worked out by hand: results must not change with Python, machine or version."""
    digest = hashlib.sha256(b'[7,"order",3]').hexdigest()
    assert derive_seed(7, "order", 3) == int(digest[:16], 16) // 2


def test_parts_do_not_run_together() -> None:
    seeds = {derive_seed(1, "ab"), derive_seed(1, "a", "b"), derive_seed(1, 1), derive_seed(1, "1"), derive_seed(11)}
    assert len(seeds) == 5


def test_neighbouring_seeds_are_unrelated() -> None:
    """Mean and correlation of 10,000 consecutive seeds are those of independent uniform numbers (4 sigma)."""
    values = np.array([derive_seed(seed, "order") for seed in range(10_000)]) / 2.0**63
    assert abs(values.mean() - 0.5) < 4 / np.sqrt(12 * 10_000)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 4 / np.sqrt(10_000)


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))  # noqa: NPY002


def test_inside_everything_follows_from_the_seed() -> None:
    drawn = []
    for seed in (3, 3, 4):
        draw()
        with seed_everything(seed):
            drawn.append(draw())
    assert drawn[0] == drawn[1]
    assert all(one != two for one, two in zip(drawn[0], drawn[2], strict=True))


def test_outside_nothing_changes() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    undisturbed = [draw(), draw()]
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    settings = (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark)
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    disturbed = [draw()]
    with pytest.raises(RuntimeError, match="inside"):
        _fail_inside()
    disturbed.append(draw())
    assert disturbed == undisturbed
    assert settings == (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark)
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == workspace


def _fail_inside() -> None:
    with seed_everything(5):
        draw()
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
        raise RuntimeError("inside")


def test_strict_refuses_what_has_no_deterministic_form() -> None:
    """A negative control: outside the same operation is allowed."""
    indices, values = torch.tensor([0, 0]), torch.tensor([1.0, 2.0])

    def undefined() -> torch.Tensor:
        torch.utils.deterministic.fill_uninitialized_memory  # noqa: B018 - loaded lazily by torch
        return torch.zeros(2).put_(indices, values, accumulate=False)

    undefined()
    with seed_everything(0), pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
        undefined()
    with seed_everything(0, strict=False), pytest.warns(UserWarning, match="deterministic implementation"):
        undefined()
