"""Which precision a search begins with: the cheapest by a trial on a few rows. The result is the same for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors.candidates import Lists, Sweep, capacity
from rra_cli.neighbors.cost_model import SMALL_PAIRS, SMALL_WORK
from rra_cli.neighbors.products import Float, Int8, Product, RotatedInt8, TwiceInt8, float_rate, integer_rate
from rra_cli.neighbors.rows import Rows
from rra_cli.neighbors.threads import thread_count

# Multiply-adds of direct differences a second and thread; benchmarks/README.md has what was measured.
_DIFFERENCES = 4e9
_QUERIES, _REFERENCES = 64, 2048


@dataclass(frozen=True)
class Plan:
    """Products to try, one after the other for rows that the one before could not decide; then all pairs directly."""

    products: tuple[Product, ...]


def choose(queries: Rows, references: Rows, k: int, own: NDArray[np.int64], within: bool, memory: int) -> Plan:
    """The plan that takes the least time. within: the queries are references too, so that each pair is visited once."""
    n, m, features = len(queries), len(references), references.features
    if 1.0 * n * m * features < SMALL_WORK and n * m < SMALL_PAIRS:
        return Plan(())  # the rest of a search takes longer than all direct differences
    integers = integer_rate() > 1.2 * float_rate("float32")
    ladder: list[Product] = [Int8(), RotatedInt8(), TwiceInt8()] if integers else [Float(np.float32)]
    ladder.append(Float(np.float64))
    half = 0.5 if within else 1.0
    directly = features / (_DIFFERENCES * thread_count()) * n
    best, cheapest = len(ladder), half * directly * m  # all pairs directly
    trial = _trial(queries, references, own, memory)
    for at, product in enumerate(ladder):
        rate = integer_rate() if isinstance(product, Int8) else float_rate(product.name)
        products = half * product.count * 1.0 * n * m * features / rate
        if products >= cheapest:
            continue
        listed = _listed(product, *trial, max(2, round(k * len(trial[1]) / m)), memory) * m / len(trial[1])
        if listed > 0.7 * capacity(k, m):
            continue
        seconds = products + 0.7 * directly * listed
        if seconds < cheapest:
            best, cheapest = at, seconds
        if listed < 1.5 * k:
            break  # a higher precision has nothing left to gain
    later = [product for product in ladder[best:] if product is ladder[best] or product.bytes > ladder[best].bytes]
    return Plan(tuple(later))


def _trial(
    queries: Rows, references: Rows, own: NDArray[np.int64], memory: int
) -> tuple[Rows, Rows, NDArray[np.int64]]:
    """A few queries, references and which of the latter each query is."""
    most = max(128, min(_REFERENCES, memory // (32 * references.features)))
    rows = np.unique(np.linspace(0, len(queries) - 1, _QUERIES).astype(np.int64))
    columns = np.unique(np.linspace(0, len(references) - 1, most).astype(np.int64))
    at = np.minimum(np.searchsorted(columns, own[rows]), len(columns) - 1)
    return queries.take(rows), references.take(columns), np.where(columns[at] == own[rows], at, -1)


def _listed(product: Product, queries: Rows, references: Rows, own: NDArray[np.int64], k: int, memory: int) -> float:
    """Mean length of the lists."""
    reach = min(k, max(1, len(references) - 1))
    lists = Lists.empty(len(queries), reach, len(references), product.error(references.features))
    Sweep(product, queries, references, own, None, memory).run(lists)
    return float("inf") if lists.full.mean() > 0.1 else float(lists.count[~lists.full].mean())
