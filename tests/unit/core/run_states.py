"""The configuration of a run folder, and the state that it tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "seed": 0,
    "dataset": {"name": "digits", "n_samples": {"train": 100, "test": None}},
    "method": {"epochs": 3, "milestones": [0, 3]},
    "optimizer": {"lr": 1e-05, "name": "none", "flag": True, "text": "1e-5", "yes": "no", "umlaut": "ä: b"},
}


def status(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((path / "status.json").read_text())
    return loaded
