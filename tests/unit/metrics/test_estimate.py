"""An estimate without a value has a reason; what it holds cannot be changed."""

from __future__ import annotations

import numpy as np
import pytest

from rra_cli.metrics import Estimate
from rra_cli.metrics.estimate import standard_error, undefined


def test_no_value_without_a_reason() -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        Estimate(float("nan"))
    assert np.isnan(float(undefined("all rows are equal")))
    assert float(Estimate(0.25)) == 0.25


def test_details_are_read_only() -> None:
    estimate = Estimate(1.0, details={"duplicates": 3})
    with pytest.raises(TypeError):
        estimate.details["duplicates"] = 4  # type: ignore[index]


def test_standard_error_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(size=(2000, 50))
    assert np.mean([standard_error(row) for row in values]) == pytest.approx(values.mean(axis=1).std(), rel=0.05)
    assert np.isnan(standard_error(np.ones(1)))
