"""Searches that are interrupted after some calls, and what they left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brute_force import beginning_with, gaussian
from numpy.typing import NDArray

from rra_cli.neighbors import exact_neighbors, resume
from rra_cli.neighbors.tiles import dense, direct

N, D, K = 200, 200, 7
CALLS = [3, 27, 29]  # of progress: in the sweep, at its end, among the differences


def keep_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every search keeps its state after every step, and reads few columns at a time."""
    monkeypatch.setattr(resume, "EVERY", 0)
    monkeypatch.setattr(resume, "SHARE", np.inf)
    monkeypatch.setattr(direct, "_CACHE", 1)
    monkeypatch.setattr(direct, "_PAGE", 1)
    monkeypatch.setattr(dense, "_COLUMNS", 1)
    monkeypatch.setattr(dense, "_LONGEST", 1)


def interrupted_after(calls: int) -> Callable[[int, int, str], None]:
    left = [calls]

    def progress(done: int, total: int, note: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    return progress


def found(
    x: NDArray[Any], work: Path, plan: str = "int8", panel: int = 64, spare: int | None = None, **options: Any
) -> Any:
    with beginning_with(plan, panel=panel, tile=32, spare=spare):
        return exact_neighbors(x, K, work=work, **options)


def names(work: Path) -> set[str]:
    return {path.name.split("_")[0] for path in work.iterdir()}


def calls_of(search: Callable[..., Any]) -> int:
    """How often it says how far it is."""
    calls: list[int] = []
    search(progress=lambda done, total, note: calls.append(done))
    return len(calls)


def data_for(options: dict[str, Any]) -> NDArray[Any]:
    """Gaussian rows, of many features where all are compared; for short lists, some that eight bits cannot decide."""
    x = gaussian(N, 1500 if options["plan"] == "directly" else D)
    if "spare" in options:
        x[: N // 3] = x[0] + 1e-4 * x[: N // 3]
    return x
