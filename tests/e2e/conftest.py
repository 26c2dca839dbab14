"""What tests from the shell share: the run folder of one quick start, its store, and a user's own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shell import QUICK, run_ok
from user_files import write


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shell") / "outputs"


@pytest.fixture(scope="session")
def quick(outputs: Path) -> Path:
    """The run folder of a quick start of one epoch, drawn; whoever works in its store only adds to it."""
    return run_ok(*(each for each in QUICK if each != "runtime.report=false"), outputs=outputs)


@pytest.fixture(scope="session")
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    flat = rng.normal(size=(60, 7)) + labels[:, None]
    return {
        "labels": labels,
        "flat": flat.astype(np.float32),
        "maps": rng.normal(size=(60, 4, 3, 3)).astype(np.float32) + labels[:, None, None, None].astype(np.float32),
        "tokens": rng.normal(size=(60, 5, 6)).astype(np.float64),
    }


@pytest.fixture(scope="session")
def activations(arrays: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three layers whose prefixes order them against their names."""
    folder = tmp_path_factory.mktemp("activations with blank")
    return write(folder, arrays, flat="000_flat", tokens="001_tokens", maps="002_maps")
