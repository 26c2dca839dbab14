"""A training killed anywhere and started again ends with the same weights, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("kill_driver.py")


@pytest.mark.parametrize(
    "thorough", [pytest.param(False, marks=pytest.mark.long), pytest.param(True, marks=pytest.mark.stress)]
)
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork are POSIX's")
def test_killed_and_started_again_gives_the_same_bytes(tmp_path: Path, thorough: bool) -> None:
    arguments = [sys.executable, str(DRIVER), str(tmp_path), *(["--all"] if thorough else [])]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["differ"] == []
    assert result["killed"] >= (100 if thorough else 20)
    assert result["boundaries"] >= 60
    # Negative control: another seed gives other weights and another history.
    assert result["same_with_another_seed"] == []
