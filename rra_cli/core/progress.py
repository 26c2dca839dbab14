"""How long work says how far it is, without knowing who shows it."""

from __future__ import annotations

from collections.abc import Callable

# Called with (done, total, note): samples, rows or epochs; `note` is a short live figure such as "loss 0.412".
Progress = Callable[[int, int, str], None]


def silent(done: int, total: int, note: str = "") -> None:
    """Shows nothing."""
