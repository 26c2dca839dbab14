"""Neighbour graphs on disk: `indices.npy`, `distances.npy` (read as memory maps) and `graph.json`."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np

from rra_cli.core import files
from rra_cli.core.reading import read_json
from rra_cli.errors import UserError
from rra_cli.neighbors.graph import InputError, NeighborGraph


def save_graph(graph: NeighborGraph, folder: Path) -> None:
    """Writes the graph into `folder` (made if needed): int32 ids where they fit, float64 distances; file by file
    whole or not at all, `graph.json` last."""
    folder = Path(folder)
    small = graph.n_reference <= np.iinfo(np.int32).max
    files.write_array(folder / "indices.npy", np.asarray(graph.indices, np.int32 if small else np.int64))
    files.write_array(folder / "distances.npy", np.asarray(graph.distances))
    save_description(graph, folder)


def save_description(graph: NeighborGraph, folder: Path) -> None:
    """Writes `graph.json`, for whoever has written the arrays in another way."""
    description = {
        "n_samples": len(graph),
        "k": graph.k,
        "n_reference": graph.n_reference,
        "self_excluded": graph.self_excluded,
        "recall": graph.recall,
        "engine": graph.engine,
    }
    files.write_json(folder / "graph.json", description)


def load_graph(folder: Path, k: int | None = None) -> NeighborGraph:
    """The graph in `folder`, or its k nearest neighbours; the arrays stay on disk until they are used.

    Raises `InputError` where k is larger than what is stored, `UserError` where files are missing or damaged.
    """
    folder = Path(folder)
    try:
        description = read_json(folder / "graph.json")
        indices, distances = _mapped(folder / "indices.npy"), _mapped(folder / "distances.npy")
        stored = (description["n_samples"], description["k"])
        recall, engine = float(description["recall"]), str(description["engine"])
        n_reference, self_excluded = int(description["n_reference"]), bool(description["self_excluded"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(f"{folder} holds no readable neighbour graph: {error}", "remove it and run again") from error
    if indices.shape != stored or distances.shape != stored:
        raise UserError(
            f"the neighbour graph in {folder} is damaged: expected {stored}, found {indices.shape}, {distances.shape}",
            "remove it and run again",
        )
    k = stored[1] if k is None else k
    if not 1 <= k <= stored[1]:
        raise InputError(f"k must lie in 1..{stored[1]} for the graph in {folder}, got {k}")
    return NeighborGraph(indices[:, :k], distances[:, :k], recall, n_reference, self_excluded, engine)


def _mapped(path: Path) -> np.ndarray:
    """The array in a file as a read-only map. Raises ValueError where it is none, OSError."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{path.name} is not a regular file")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        raise
    except Exception as error:  # a header may be anything, and its parser fails in a dozen ways
        raise ValueError(f"{path.name} has a damaged .npy header") from error
