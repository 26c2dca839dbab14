"""Small archives in Omniglot's format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from small_files import picture, published, zipped

from rra_cli.data.dataset import SPLITS, Split
from rra_cli.data.official_files import OfficialFile
from rra_cli.data.omniglot import Omniglot

ALPHABETS: dict[Split, dict[str, int]] = {"train": {"Greek": 2, "N_Ko": 1}, "test": {"Angelic": 2}}
FOLDER = {"train": "images_background", "test": "images_evaluation"}


def strokes(seed: int) -> np.ndarray:
    """A drawing: black (False) strokes on white, 105x105, as the published pictures have it."""
    return np.random.default_rng(seed).random((105, 105)) > 0.1


def small_omniglot(root: Path, drawers: int = 3, drop: str = "", **options: Any) -> Omniglot:
    archives: dict[Split, OfficialFile] = {}
    seed = 0
    for split in SPLITS:
        members = {}
        for alphabet, n in ALPHABETS[split].items():
            for character in range(1, n + 1):
                for drawer in range(1, drawers + 1):
                    name = f"{FOLDER[split]}/{alphabet}/character{character:02d}/{character:04d}_{drawer:02d}.png"
                    seed += 1
                    if name != drop:
                        members[name] = picture(strokes(seed))
        archives[split] = published(root, f"omniglot-py/{FOLDER[split]}.zip", zipped(members))
    attributes = {"archives": archives, "alphabets": ALPHABETS, "drawers": drawers}
    made: Omniglot = type("Small", (Omniglot,), attributes)(root=str(root), download=False, **options)
    return made
