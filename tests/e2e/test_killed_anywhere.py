"""A run killed with SIGKILL at any write or rename, and started again, ends with the tables of an undisturbed run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

KILLING = Path(__file__).with_name("killing.py")
KEEP = ["always", "until_measured"]


def kill_runs(folder: Path, which: str, keep: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(KILLING), str(folder), which, keep],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{len(outcome['tried'])} of {outcome['boundaries']} boundaries, {len(outcome['kinds'])} kinds")
    return outcome


@pytest.mark.long
def test_killed_at_every_kind_of_boundary_the_same_command_ends_with_the_same_tables(tmp_path: Path) -> None:
    outcome = kill_runs(tmp_path, "kind", "until_measured")
    assert outcome["problems"] == []
    told = " ".join(outcome["kinds"])
    assert all(word in told for word in ("write", "publish", "lease", "capture", "discard", "resume")), told


@pytest.mark.stress
@pytest.mark.parametrize("keep", KEEP)
def test_killed_at_every_boundary_the_same_command_ends_with_the_same_tables(tmp_path: Path, keep: str) -> None:
    outcome = kill_runs(tmp_path, "every", keep)
    assert outcome["problems"] == []
    assert len(outcome["tried"]) == outcome["boundaries"]
