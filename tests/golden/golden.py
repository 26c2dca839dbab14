"""A tiny fixed experiment, and its stored results as a few numbers that survive another CPU.

Every array becomes its shape, its root mean square and some projections on fixed random directions: a changed element
moves all of them, the last bits of another CPU do not matter. See `test_golden.py`; `update.py` writes the files.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli import pipeline
from rra_cli.config.experiment import Experiment
from rra_cli.core.store import Store
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.models.convnet import ConvNetSmall
from rra_cli.neighbors.io import load_graph
from rra_cli.report.tables import schema
from rra_cli.stages import capture, train
from rra_cli.stages.graphs import graph
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.layout import Layout
from rra_cli.stages.point import Point
from rra_cli.training.optimizer import SGD

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))
from killing import Quiet, experiment

HERE = Path(__file__).parent
TOLERANCE = 1e-4
PROJECTIONS = 6

# Where the number stands that is to be raised when a stage's results change. Tables are written anew by every run, so
# they have none.
SOURCES = {
    "train": "rra_cli/stages/train.py",
    "capture": "rra_cli/stages/capture.py",
    "graph": "rra_cli/stages/graphs/graph.py",
    "measure": "the metric's `version` in rra_cli/metrics/",
}

Golden = dict[str, Any]


def golden_experiment(root: Path) -> Experiment:
    """Batch norm, convolutions and a flat layer, trained for four steps; 40 samples a split."""
    tiny = experiment(root)
    metrics = {
        "id_twonn": TwoNN(),
        "id_linear": TwoNN(fit="linear"),
        "id_mle_censored": TwoNN(fit="mle_censored"),
        "nncs": NNCS(),
        "nncs_balanced": NNCS(class_balanced=True),
        "nnls": NNLS(),
    }
    return replace(
        tiny,
        model=ConvNetSmall(width_multiplier=0.25, depth_multiplier=0.5),
        optimizer=SGD(lr=0.1),
        metrics=replace(tiny.metrics, metrics=metrics),
    )


def compute() -> dict[str, Golden]:
    """Runs the experiment in a folder of its own; stage -> `{version, values}`."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        chosen = golden_experiment(root)
        render, pipeline.render = pipeline.render, lambda *args, **kwargs: []  # type: ignore[assignment]
        try:
            pipeline.run(chosen, root / "run", Quiet(), config={"experiment": "golden"})
        finally:
            pipeline.render = render
        layout, store = lay_out(chosen), Store(root / "store")
        return {
            "train": {"version": train.VERSION, "values": of_training(layout, store)},
            "capture": {"version": capture.VERSION, "values": of_captures(layout, store)},
            "graph": {"version": graph.VERSION, "values": of_graphs(layout, store)},
            "measure": {
                "version": {key: metric.version for key, metric in chosen.metrics.metrics.items()},
                "values": of_results(layout, store),
            },
            "report": {"version": None, "values": of_tables(root / "run" / "tables")},
        }


def digest(values: NDArray[Any]) -> list[float]:
    """Root mean square and projections of an array; a vector of n unit normals keeps the size of its elements."""
    flat = np.asarray(values, np.float64).ravel()
    directions = np.random.RandomState(len(flat) % 2**32).normal(size=(PROJECTIONS, len(flat)))
    numbers = [np.sqrt(np.mean(flat**2)), *(directions @ flat / np.sqrt(len(flat)))]
    return [float(f"{number:.7g}") for number in numbers]


def entry(values: NDArray[Any]) -> dict[str, Any]:
    return {"shape": list(values.shape), "digest": digest(values)}


def of_training(layout: Layout, store: Store) -> Golden:
    import torch

    assert layout.training is not None
    found: Golden = {}
    for checkpoint in (*layout.training.milestones, layout.training.last):
        weights = layout.training.load(store, checkpoint).module.state_dict()
        found |= {
            f"{checkpoint.label} {name}": entry(value.numpy())
            for name, value in weights.items()
            if value.dtype == torch.float32
        }
    lines = [json.loads(line) for line in layout.training.history(store).splitlines()]
    for name in lines[0]:
        found[f"history {name}"] = entry(np.array([np.nan_to_num(line[name] or 0.0) for line in lines]))
    return found


def of_captures(layout: Layout, store: Store) -> Golden:
    return {stage.point.title: entry(np.asarray(stage.open(store)[0])) for stage in layout.captures}


def of_graphs(layout: Layout, store: Store) -> Golden:
    """Distances; ids as well but for the input, where digits have ties that the last bit decides."""
    found: Golden = {}
    for stage in layout.graphs:
        artifact = stage.find(store)
        assert artifact is not None
        stored = load_graph(artifact.path, stage.k)
        found[f"{stage.point.title} distances"] = entry(stored.distances)
        if stage.point.module:
            found[f"{stage.point.title} indices"] = entry(stored.indices)
    return found


def of_results(layout: Layout, store: Store) -> Golden:
    """The last checkpoint on test data: all layers but the input, whose ties matter to all but its dimension."""
    found: Golden = {}
    for stage in layout.layers:
        for layer, measured in zip(stage.graphs, stage.load(store), strict=True):
            if is_last(layer.point) and (layer.point.module or "nncs" not in stage.key):
                title = f"{stage.key} {layer.point.title}"
                found[title] = entry(numbers_of(measured.figures))
                for name, array in measured.arrays.items():
                    found[f"{title} {name}"] = entry(np.nan_to_num(array))
    for pair in layout.pairs:
        for measured in pair.load(store):
            a, b = (pair.graphs[measured.figures[side]].point for side in ("a", "b"))
            if a.module and b.module and is_last(a):
                found[f"{pair.key} {a.title} with {b.layer}"] = entry(numbers_of(measured.figures))
    return found


def is_last(point: Point) -> bool:
    return (point.checkpoint.label, point.split) == ("last", "test")


def numbers_of(figures: Mapping[str, Any]) -> NDArray[np.float64]:
    names = ("value", "std_error", "chance", "n_used")
    return np.array([0.0 if figures[name] is None else float(figures[name]) for name in names])


def of_tables(folder: Path) -> Golden:
    """Columns in their order, number of rows, the texts, and the numbers of each column but those of the input."""
    found: Golden = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        found[path.name] = {"columns": list(rows[0]), "rows": len(rows)}
        kept = [row for row in rows if "input" not in (row.get("layer"), row.get("layer_a"), row.get("layer_b"))]
        for column in rows[0]:
            texts = [row[column] for row in kept]
            if column in schema.TEXT or column in schema.LABELS:
                if not column.startswith("model"):  # 12 digits of a key, which changes with every version
                    found[f"{path.name} {column}"] = {"texts": sorted(set(texts))}
            else:
                found[f"{path.name} {column}"] = entry(np.array([float(text or 0.0) for text in texts]))
    return found


def differences(stored: Golden, found: Golden) -> list[str]:
    """Which values changed by more than the last bits of another CPU, appeared or are gone."""
    changed = [f"{name}: gone" for name in stored if name not in found]
    for name, value in found.items():
        if name not in stored:
            changed.append(f"{name}: new")
            continue
        old = dict(stored[name])
        new = dict(value)
        was, now = old.pop("digest", []), new.pop("digest", [])
        if old != new:
            changed.append(f"{name}: was {old}, is {new}")
        elif was and not np.allclose(was, now, rtol=0, atol=TOLERANCE * max(was[0], 1e-12)):
            changed.append(f"{name}: was {was[:3]}, is {now[:3]} ...")
    return changed


def path_of(stage: str) -> Path:
    return HERE / f"{stage}.json"


def read(stage: str) -> Golden:
    stored: Golden = json.loads(path_of(stage).read_text())
    return stored
