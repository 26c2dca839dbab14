"""Rows with NaN or infinity are counted one by one, however their numbers add up."""

from __future__ import annotations

import pytest
import torch

from rra_cli.activations.layer_files import nonfinite_rows

LARGEST = torch.finfo(torch.float32).max
INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("row", "counted"),
    [
        ([1.0, -2.0, 0.0], 0),
        ([NAN, 1.0, 2.0], 1),
        ([INF, 1.0, -1.0], 1),
        ([-INF, 1.0, 1.0], 1),
        ([INF, -INF, 0.0], 1),
        ([NAN, INF, NAN], 1),
        ([LARGEST, LARGEST, LARGEST], 0),  # the sum is infinite, no number is
        ([-LARGEST, -LARGEST, 1.0], 0),
    ],
)
def test_a_row_counts_once_if_a_number_in_it_is_not_finite(row: list[float], counted: int) -> None:
    rows = torch.tensor([[0.0, 0.0, 0.0], row, [3.0, -3.0, 1.0], row])
    assert nonfinite_rows(rows) == 2 * counted
    assert nonfinite_rows(rows.double()) == 2 * counted


def test_no_rows_and_no_features() -> None:
    assert nonfinite_rows(torch.empty(0, 3)) == nonfinite_rows(torch.empty(3, 0)) == 0
