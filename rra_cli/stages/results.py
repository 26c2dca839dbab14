"""How measured results lie in the store: figures as JSON, arrays of equal layers stacked into one file a name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.artifact import Artifact
from rra_cli.metrics.estimate import Estimate

RESULT = "result.json"


@dataclass(frozen=True)
class Measured:
    """The stored estimate of one layer: JSON figures and named arrays."""

    figures: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def figures_of(estimate: Estimate) -> dict[str, Any]:
    """The scalar part of an estimate as JSON holds it: NaN becomes null."""
    numbers = {"value": estimate.value, "std_error": estimate.std_error, "chance": estimate.chance}
    figures: dict[str, Any] = {name: None if isnan(value) else float(value) for name, value in numbers.items()}
    return {**figures, "reason": estimate.reason, "n_used": int(estimate.n_used)}


def arrays_of(estimate: Estimate, *, per_sample: bool) -> dict[str, NDArray[Any]]:
    """The arrays of an estimate's details and, on request, its values by sample."""
    arrays = {name: value for name, value in estimate.details.items() if isinstance(value, np.ndarray)}
    if per_sample and estimate.per_sample is not None:
        arrays["per_sample"] = estimate.per_sample
    return arrays


def save(folder: Path, results: Sequence[Measured]) -> None:
    """Writes the results of some layers, in their order; a layer that lacks an array is passed over in its stack."""
    names = sorted({name for result in results for name in result.arrays})
    where = {name: [place for place, result in enumerate(results) if name in result.arrays] for name in names}
    figures = [result.figures for result in results]
    (folder / RESULT).write_text(json.dumps({"figures": figures, "arrays": where}, allow_nan=False), encoding="utf-8")
    for name, places in where.items():
        stacked = np.stack([results[place].arrays[name] for place in places])
        np.save(folder / f"{name}.npy", stacked, allow_pickle=False)


def load(artifact: Artifact) -> list[Measured]:
    """What `save` wrote. Raises `StoreError` for anything else."""
    stored = artifact.read_json(RESULT)
    try:
        results = [Measured(dict(figures), {}) for figures in stored["figures"]]
        for name, places in stored["arrays"].items():
            for place, array in zip(places, artifact.read_array(f"{name}.npy"), strict=True):
                results[place].arrays[name] = array
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise artifact.strange(RESULT, error) from error
    return results
