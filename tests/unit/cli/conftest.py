"""Fixtures of a command line whose pipeline only notes what it was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import Command, FakePipeline


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> FakePipeline:
    fake = FakePipeline()
    monkeypatch.setattr("rra_cli.pipeline.run", fake.run)
    return fake


@pytest.fixture
def rra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setenv("RRA_OUTPUTS", str(tmp_path / "outputs"))
    return Command(capsys, tmp_path / "outputs")
