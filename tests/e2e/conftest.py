"""What tests from the shell share: one quick start and its store, a sweep that is compared, a user's own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from comparing import files_run, rra_run, write_files
from shell import QUICK, run_ok
from user_files import write

from rra_cli.__main__ import main


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


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of 2 x 3 jobs, one run that measured other samples, and two of a user's files."""
    folder = tmp_path_factory.mktemp("outputs")
    for name in ("one", "two"):
        write_files(folder / "files" / name, name)
    rra_run(
        folder,
        ["-m", "seed=range(3)", "optimizer.lr=0.001,0.01", f"hydra.sweep.dir={folder / 'sweep'}"],
        ["dataset.n_samples=40", f"hydra.run.dir={folder / 'smaller'}"],
        *(files_run(folder, name) for name in ("one", "two")),
    )
    return folder


@pytest.fixture(scope="session")
def compared(swept: Path) -> Path:
    """What `rra compare` of the sweep wrote."""
    assert main(["compare", str(swept / "sweep"), "--out", str(swept / "compared"), "--threads", "1"]) == 0
    return swept / "compared"


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without plots, for tests about tables."""
    monkeypatch.setattr("rra_cli.report.compare.rendering.draw_all", lambda plots, progress: [])
