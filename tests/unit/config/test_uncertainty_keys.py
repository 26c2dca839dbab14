"""The keys of `metrics` that ask for intervals and null distributions."""

from __future__ import annotations

from typing import Any

import pytest

from rra_cli.config.compose import load
from rra_cli.config.uncertainty import UncertaintyConfig
from rra_cli.errors import ConfigError


def bound(**metrics: Any) -> UncertaintyConfig:
    return load(
        ["+experiment=quickstart", *(f"metrics.{key}={value}" for key, value in metrics.items())]
    ).metrics.uncertainty


def test_nothing_is_asked_for_by_itself() -> None:
    assert bound() == UncertaintyConfig(intervals="none", interval_level=0.95, null_test="none", permutations=199)


def test_they_are_keys_beside_the_metrics() -> None:
    asked = bound(intervals="blocks", interval_level=0.9, null_test="permutation", permutations=99)
    assert asked == UncertaintyConfig("blocks", 0.9, "permutation", 99)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"interval_level": 95}, "metrics.interval_level is 95.0; it must lie between 0 and 1, such as 0.95"),
        ({"permutations": 1}, "metrics.permutations is 1; it must lie in 2..100000"),
        ({"intervals": "bootstrap"}, "metrics.intervals"),
        ({"null_test": "yes"}, "metrics.null_test"),
    ],
)
def test_what_is_wrong_is_told(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        bound(**values)
    assert message in str(error.value.faults)


def test_the_ends_of_what_is_possible() -> None:
    assert UncertaintyConfig(permutations=2).permutations == 2
    assert UncertaintyConfig(permutations=100_000).permutations == 100_000
    with pytest.raises(ValueError, match="permutations is 100001"):
        UncertaintyConfig(permutations=100_001)
    for level in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"interval_level is {level}"):
            UncertaintyConfig(interval_level=level)
