"""A run killed with SIGKILL at any write or rename, and started again, ends with the tables of an undisturbed run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLING = Path(__file__).with_name("killing.py")


def kill_runs(folder: Path, first: int, step: int, keep: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, str(KILLING), str(folder), str(first), str(step), keep],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outcome: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return outcome


def test_killed_at_some_boundaries_the_same_command_ends_with_the_same_tables(tmp_path: Path) -> None:
    outcome = kill_runs(tmp_path, first=11, step=157, keep="always")
    assert outcome["problems"] == []
    assert len(outcome["tried"]) >= 3  # type: ignore[arg-type]


@pytest.mark.long
@pytest.mark.parametrize("keep", ["always", "until_measured"])
def test_killed_at_any_boundary_the_same_command_ends_with_the_same_tables(tmp_path: Path, keep: str) -> None:
    outcome = kill_runs(tmp_path, first=1, step=41, keep=keep)
    assert outcome["problems"] == []
