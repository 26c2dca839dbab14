"""The order of the draw: every prefix of it is a measured set of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rra_cli.data.subset import measured_ids, nested_order

LABELS = np.random.default_rng(0).integers(0, 5, size=400)


def order_of(*draw: Any, **options: Any) -> NDArray[np.int64]:
    return nested_order(measured_ids(*draw, **options, as_drawn=True))


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_prefix_holds_the_samples_of_a_smaller_draw(balanced: bool, split: str) -> None:
    measured = measured_ids(LABELS, 200, 3, balanced, split)  # type: ignore[arg-type]
    order = order_of(LABELS, 200, 3, balanced, split)
    assert sorted(order) == list(range(200)), "each of the measured samples once"
    for n in (10, 50, 199, 200):
        smaller = measured_ids(LABELS, n, 3, balanced, split)  # type: ignore[arg-type]
        assert np.array_equal(np.sort(measured[order[:n]]), smaller)


def test_a_prefix_is_balanced_where_that_is_asked_for() -> None:
    order, measured = order_of(LABELS, 200, 3, True, "test"), measured_ids(LABELS, 200, 3, True, "test")
    for n in (10, 55, 150):
        counts = np.bincount(LABELS[measured[order[:n]]], minlength=5)
        assert counts.max() - counts.min() <= 1
    drawn = order_of(LABELS, 200, 3, False, "test")
    counts = np.bincount(LABELS[measured_ids(LABELS, 200, 3, False, "test")[drawn[:55]]], minlength=5)
    assert counts.max() - counts.min() > 1, "and not otherwise"


def test_another_seed_draws_another_order() -> None:
    assert not np.array_equal(order_of(LABELS, None, 0, False, "test"), np.arange(400)), "drawn, though it is all"
    one, other = (order_of(LABELS[:300], None, seed, False, "test") for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_samples_without_labels_have_an_order_too() -> None:
    order = order_of(None, 20, 0, False, "test", size=100)
    measured = measured_ids(None, 20, 0, False, "test", size=100)
    assert np.array_equal(np.sort(measured[order[:7]]), measured_ids(None, 7, 0, False, "test", size=100))
