"""The one number that tells groups apart, where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rra_cli.comparison.groups import group_runs
from rra_cli.comparison.runs import FinishedRun
from rra_cli.comparison.swept import swept_number


def runs(*configs: dict[str, Any]) -> list[FinishedRun]:
    none: Any = None
    return [
        FinishedRun(str(at), Path(str(at)), config, config.get("seed", 0), none, none)
        for at, config in enumerate(configs)
    ]


def test_the_only_number_that_differs_is_found_with_its_value_by_group() -> None:
    configs = [{"seed": seed, "alter": {"level": level}} for seed in range(2) for level in (0, 0.5, 10)]
    found = swept_number(group_runs(runs(*configs)))
    assert found is not None
    assert found.setting == "alter.level"
    assert found.values == {"alter.level=0": 0.0, "alter.level=0.5": 0.5, "alter.level=10": 10.0}


@pytest.mark.parametrize(
    "configs",
    [
        [{"alter": {"level": 0}}],  # one group
        [{"alter": {"level": 0}}, {"alter": {"level": 1}, "model": {"depth": 2}}],  # two settings
        [{"model": {"act": "relu"}}, {"model": {"act": "gelu"}}],  # no numbers
        [{"neighbors": {"k": None}}, {"neighbors": {"k": 5}}],
        [{"model": {"bias": True}}, {"model": {"bias": False}}],
        [{"samples": {"sizes": [5]}}, {"samples": {"sizes": [6]}}],
        [{"model": {"decay": "nan"}}, {"model": {"decay": "1"}}],
        [{"dataset": {"subset_seed": 0}}, {"dataset": {"subset_seed": 1}}],  # a name, no quantity
        [{"model": {"width": "1"}}, {"model": {"width": "1.0"}}],  # two groups at one place
    ],
)
def test_anything_else_is_no_axis(configs: list[dict[str, Any]]) -> None:
    assert swept_number(group_runs(runs(*configs))) is None
