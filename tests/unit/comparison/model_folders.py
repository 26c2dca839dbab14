"""Finished runs made of random graphs in a store: no training and no search."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rra_cli.comparison.runs import FinishedRun, GraphRow, Place
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.io import save_graph

LAYERS = ("input", "conv", "logits")
DIGITS = {"test": {"name": "digits", "split": "test", "n_samples": 30}}


def random_graph(n: int, k: int, seed: int, engine: str = "exact") -> NeighborGraph:
    """Neighbours drawn at random."""
    random = np.random.RandomState(seed)
    others = np.array([[j for j in range(n) if j != i] for i in range(n)])
    indices = np.stack([random.permutation(row)[:k] for row in others]).astype(np.int32)
    recall = 1.0 if engine == "exact" else 0.9
    return NeighborGraph(indices, np.sort(random.rand(n, k) + 0.1, axis=1), recall, n, True, engine)


def publish(store: Store, graph: NeighborGraph, name: str) -> str:
    """Puts the graph into the store; its path below it."""
    spec = Spec("graph", 1, {"engine": "test"}, (hashlib.sha256(name.encode()).hexdigest(),))
    entry = f"k={graph.k}"
    found = store.find(spec, entry)
    if found is None:
        with store.claim(spec) as work:
            save_graph(graph, work.path / "graph")
            found = work.publish("graph", entry=entry, details={})
    return found.name


def finished_run(
    root: Path,
    seed: int,
    *,
    group: str = "mlp",
    layers: Sequence[str] = LAYERS,
    n: int = 30,
    k: int = 5,
    samples: Mapping[str, Any] = DIGITS,
    asked: int | None = None,
    checkpoint: str = "last",
    reasons: Mapping[str, str] | None = None,
) -> FinishedRun:
    """A model with a random graph a layer; all models of equal samples share the graph of `input`."""
    store, rows = Store(root / "store"), []
    for index, layer in enumerate(layers):
        name = f"input-{n}-{k}" if layer == "input" else f"{group}-{seed}-{layer}-{n}-{k}"
        number = int(hashlib.sha256(name.encode()).hexdigest()[:6], 16)
        path = publish(store, random_graph(n, k, number), name)
        place = Place(checkpoint, "test", "none", 1)
        rows.append(GraphRow(place, layer, index, 3, n, asked or k, path, (reasons or {}).get(layer, "")))
    config = {"experiment": "made", "seed": seed, "model": {"name": group}}
    none: Any = None
    name = f"{group}-{seed}-{n}-{k}"
    return FinishedRun(
        name, root / name, config, seed, none, none, store=store.root, samples=samples, graphs=tuple(rows)
    )
