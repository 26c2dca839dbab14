"""A real SLURM on this machine (scripts/slurm-node), where RRA_SLURM=1 asks for it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

NODE = Path(__file__).parents[2] / "scripts" / "slurm-node"


@pytest.fixture(scope="session")
def cluster() -> None:
    """Starts it, and leaves it: other test processes use it as well, and whoever started them ends it."""
    if os.environ.get("RRA_SLURM") != "1":
        pytest.skip("RRA_SLURM=1 starts a SLURM on this machine (./scripts/test --ci and --all set it)")
    started = subprocess.run([NODE, "up"], capture_output=True, text=True, timeout=600)
    if started.returncode != 0:
        said = started.stderr.strip().splitlines() or ["no word"]
        pytest.skip(f"SLURM cannot be started here: {said[-1]}")
