"""A SLURM that says what it is told to."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded import Stand, stand_in


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    return stand_in(tmp_path / "bin", monkeypatch.setenv)
