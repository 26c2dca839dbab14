"""The tables of a sample study, from its stored results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.store import Store
from rra_cli.metrics.nnls_sim import nnls_sim
from rra_cli.metrics.sample_grid import Setting
from rra_cli.report.tables.schema_samples import DEFINITION, FIXED_DENSITY, FIXED_K, FIXED_N, GRAPH
from rra_cli.stages.point import Point
from rra_cli.stages.results import Measured
from rra_cli.stages.samples.measures import SampleDimension, SamplePurity, SampleSimilarity

Rows = list[dict[str, Any]]
Common = Callable[[Point], dict[str, Any]]

_EXACT = {"engine": "exact", "recall": 1.0}
# Columns of a place that all layers share.
_PLACE = ("checkpoint", "epoch", "split", "pool", "scale", "subset")


def sample_tables(
    dimensions: Sequence[SampleDimension],
    purities: Sequence[SamplePurity],
    similarities: Sequence[SampleSimilarity],
    store: Store,
    common: Common,
) -> dict[str, Rows]:
    """`samples`, `samples_mu`, `samples_nnls` and `nnls_sim`; those without rows are left out."""
    by_size = [(stage, stage.load(store)) for stage in dimensions]
    by_both = [(stage, stage.load(store)) for stage in purities]
    pairs = [(stage, stage.load(store)) for stage in similarities]
    tables: dict[str, Rows] = {
        "samples": [
            *(row for stage, found in by_size for row in _layer_rows(stage, found, common)),
            *(row for stage, found in by_both for row in _layer_rows(stage, found, common)),
        ],
        "samples_mu": list(_mu_rows(by_size, common)),
        "samples_nnls": [row for stage, found in pairs for row in _pair_rows(stage, found, common)],
        "nnls_sim": list(_sim_rows(pairs, common)),
    }
    return {name: rows for name, rows in tables.items() if rows}


def _layer_rows(
    stage: SampleDimension | SamplePurity, found: Sequence[Measured], common: Common
) -> Iterator[dict[str, Any]]:
    """A row a size and number of neighbours of one layer and metric."""
    for measured in found:
        figures = measured.figures
        row = {**common(stage.point), "n_samples": figures["n"], "metric": stage.key}
        yield {**row, **_cell(figures, figures["n"]), "value": figures["value"], "n_used": figures["n_used"]}


def _cell(figures: dict[str, Any], n: int) -> dict[str, Any]:
    """What all values have: their k, where they come from, and how sure they are."""
    shown = {name: figures[name] for name in ("k", "std_error", "chance", "reason")}
    basis = DEFINITION if figures["by_definition"] else GRAPH
    if basis == DEFINITION:  # other samples of the same classes would give the same
        shown["std_error"] = None
    return {**shown, "ndr": figures["k"] / n, "basis": basis, **_EXACT}


def _mu_rows(
    measured: Sequence[tuple[SampleDimension, Sequence[Measured]]], common: Common
) -> Iterator[dict[str, Any]]:
    """The distribution of μ at every size; of several fits, which see the same ratios, the first."""
    seen: set[Point] = set()
    for stage, found in measured:
        if stage.point in seen:
            continue
        seen.add(stage.point)
        for each in found:
            quantiles = each.arrays.get("mu_quantiles", ())
            for level, mu in zip(np.linspace(0.0, 1.0, len(quantiles)), quantiles, strict=True):
                row = {**common(stage.point), "n_samples": each.figures["n"]}
                yield {**row, "quantile": float(level), "mu": float(mu), **_EXACT}


def _pair_rows(stage: SampleSimilarity, found: Sequence[Measured], common: Common) -> Iterator[dict[str, Any]]:
    """A row a pair of layers and number of neighbours, the earlier layer first."""
    for measured in found:
        figures = measured.figures
        sides = {side: stage.points[figures[side]] for side in ("a", "b")}
        row = {**_place(sides["a"], common), "n_samples": stage.size}
        for side, point in sides.items():
            row |= {f"layer_{side}": point.layer, f"index_{side}": point.index}
        yield {**row, **_cell(figures, stage.size), "nnls": figures["value"]}


def _place(point: Point, common: Common) -> dict[str, Any]:
    whole = common(point)
    return {column: whole[column] for column in _PLACE}


def _sim_rows(pairs: Sequence[tuple[SampleSimilarity, Sequence[Measured]]], common: Common) -> Iterator[dict[str, Any]]:
    """NNLS_SIM of cells with equal N, equal density or equal k, at one checkpoint, split and pooling."""
    groups: dict[Any, list[tuple[SampleSimilarity, Sequence[Measured]]]] = {}
    for stage, found in pairs:
        point = stage.point
        groups.setdefault((point.checkpoint.label, point.split, point.pooling), []).append((stage, found))
    for group in groups.values():
        maps = {(stage.size, k): matrix for stage, found in group for k, matrix in _maps(stage, found).items()}
        cells = [cell for stage, _ in group for cell in stage.settings]
        row = {**_place(group[0][0].point, common), "n_layers": len(group[0][0].points)}
        for (fixed, step), one, other in compared(cells):
            yield {**row, "fixed": fixed, "ndr": step, **_sim(one, other, maps)}


def compared(cells: Sequence[Setting]) -> list[tuple[tuple[str, float | None], Setting, Setting]]:
    """Which cells are compared with which: at one N all k; at one density, or one k that was asked for, all N.

    Each with what is fixed and, where that is a density, which. Of cells that rounding makes equal the first.
    """
    found: dict[tuple[str, int, int, int, int], tuple[tuple[str, float | None], Setting, Setting]] = {}
    for one, other in combinations(sorted(cells, key=lambda cell: (cell.n_samples, cell.k)), 2):
        if one.n_samples == other.n_samples and one.k != other.k:
            fixed, step = FIXED_N, None
        elif one.n_samples != other.n_samples and (type(one.step), one.step) == (type(other.step), other.step):
            fixed, step = (FIXED_DENSITY, one.step) if isinstance(one.step, float) else (FIXED_K, None)
        else:
            continue
        found.setdefault((fixed, one.n_samples, one.k, other.n_samples, other.k), ((fixed, step), one, other))
    return list(found.values())


def _maps(stage: SampleSimilarity, found: Sequence[Measured]) -> dict[int, NDArray[np.float64]]:
    """For every k the map of similarities of all layers, `(layers, layers)`, 1 on the diagonal."""
    n, maps = len(stage.points), dict[int, NDArray[np.float64]]()
    for measured in found:
        figures = measured.figures
        value = float("nan") if figures["value"] is None else figures["value"]
        matrix = maps.setdefault(figures["k"], np.eye(n))
        matrix[figures["a"], figures["b"]] = matrix[figures["b"], figures["a"]] = value
    return maps


def _sim(one: Setting, other: Setting, maps: dict[tuple[int, int], NDArray[np.float64]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for side, cell in (("a", one), ("b", other)):
        row |= {f"n_samples_{side}": cell.n_samples, f"k_{side}": cell.k}
        row[f"basis_{side}"] = DEFINITION if cell.by_definition else GRAPH
    matrices = maps[one.n_samples, one.k], maps[other.n_samples, other.k]
    values = nnls_sim(*matrices, "bernoulli"), nnls_sim(*matrices, "unnormalised")
    row |= dict(zip(("bernoulli", "unnormalised"), values, strict=True))
    return {**row, "reason": "" if values[0] == values[0] else "a pair of layers has no NNLS at one of the two"}
