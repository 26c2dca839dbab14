"""A stand-in for pynndescent, whose compilation takes half a minute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rra_cli.neighbors.descent import library as descent_library


class Library:
    """Stands in for pynndescent (whose compilation takes half a minute) where only its traps matter."""

    def __init__(self, listed: np.ndarray) -> None:
        self.listed = listed
        self.asked: dict[str, Any] = {}
        self.calls = 0

    def NNDescent(self, **asked: Any) -> Any:
        self.asked = asked
        self.calls += 1
        return self

    @property
    def neighbor_graph(self) -> tuple[np.ndarray, np.ndarray]:
        return self.listed, np.full(self.listed.shape, np.inf)  # distances are not believed


def library(monkeypatch: pytest.MonkeyPatch, listed: np.ndarray) -> Library:
    stand_in = Library(listed)
    monkeypatch.setattr(descent_library, "load", lambda n_jobs: stand_in)
    monkeypatch.setattr(descent_library, "_compiled", {stand_in})
    return stand_in


def with_self(ids: np.ndarray) -> np.ndarray:
    """As the library lists them: each sample first in its own row."""
    return np.concatenate([np.arange(len(ids))[:, None], ids], axis=1).astype(np.int32)
