"""Processes with overlapping sweeps on one store, killed at random, end with the tables of calm runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STRESS = Path(__file__).with_name("stress.py")


def storm(folder: Path, seed: int, kills: int) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, str(STRESS), str(folder), str(seed), str(kills)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outcome: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    print(f"seed {seed}: {outcome}")
    return outcome


def check(outcome: dict[str, object], kills: int) -> None:
    assert outcome["problems"] == []
    assert outcome["kills"] >= kills  # type: ignore[operator]
    assert outcome["entries"] > 30  # type: ignore[operator]


@pytest.mark.long
def test_eight_processes_killed_some_times_lose_nothing(tmp_path: Path) -> None:
    check(storm(tmp_path, seed=0, kills=20), kills=20)


@pytest.mark.stress
@pytest.mark.parametrize("seed", [1, 2])
def test_eight_processes_killed_hundreds_of_times_lose_nothing(tmp_path: Path, seed: int) -> None:
    check(storm(tmp_path, seed, kills=250), kills=250)
