"""What tests of interrupted passes need: every batch noted, and what is called at every write."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from rra_cli.activations import stream as stream_module
from rra_cli.core import files


@pytest.fixture
def note_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "NOTE_SECONDS", 0.0)


@pytest.fixture
def boundaries() -> Iterator[list[Callable[[str], None]]]:
    before = list(files.observers)
    yield files.observers
    files.observers[:] = before
