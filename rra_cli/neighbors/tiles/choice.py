"""Which precision a search begins with: the cheapest by a trial on a few rows. The result is the same for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors.cost_model import SMALL_PAIRS, SMALL_WORK, list_capacity
from rra_cli.neighbors.rows import Rows
from rra_cli.neighbors.threads import thread_count
from rra_cli.neighbors.tiles.lists import Lists
from rra_cli.neighbors.tiles.products import Float, Int8, Product, RotatedInt8, TwiceInt8, float_rate, integer_rate
from rra_cli.neighbors.tiles.refine import seconds_of_differences
from rra_cli.neighbors.tiles.sweep import Sweep

_ALL = 1.7e10  # multiply-adds of direct differences a second and thread, of all pairs
_QUERIES, _REFERENCES = 64, 2048
_MOST_LOST = 0.5  # of the lists


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
    following = ladder[-2] if integers else ladder[-1]  # what decides rows that are lost
    half = 0.5 if within else 1.0

    def directly(candidates: float) -> float:
        """Most pairs are listed by one side only."""
        return n / thread_count() * min(seconds_of_differences(candidates, k, features))

    best, cheapest = len(ladder), half * features * n * m / (_ALL * thread_count())  # all pairs directly
    trial = _trial(queries, references, own, memory)
    for at, product in enumerate(ladder):
        products = half * product.count * _seconds_of_pass(product, n * m * features)
        if products + directly(k) >= cheapest:  # even if the lists held nothing but neighbours
            continue
        k_of_trial = max(2, round(k * len(trial[1]) / m))
        listed = _listed(product, *trial, k_of_trial, memory) * (m / len(trial[1]))
        lost = float((listed > 0.85 * list_capacity(k, m)).mean())  # lists that overflow: their rows go to the next one
        if lost > _MOST_LOST:
            continue
        again = following.count * _seconds_of_pass(following, n * m * features) * lost
        typical = float(np.minimum(listed, list_capacity(k, m)).mean())
        seconds = products + again + directly(typical)
        if seconds < cheapest:
            best, cheapest = at, seconds
        if typical < 1.5 * k:
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


def _seconds_of_pass(product: Product, multiply_adds: float) -> float:
    """One matrix product of all pairs."""
    return multiply_adds / (integer_rate() if isinstance(product, Int8) else float_rate(product.name))


def _listed(
    product: Product, queries: Rows, references: Rows, own: NDArray[np.int64], k: int, memory: int
) -> NDArray[np.float64]:
    """Lengths of the lists, infinite where they overflow."""
    reach = min(k, len(references) - 1)
    if reach < 1:
        return np.ones(len(queries))
    lists = Lists.empty(len(queries), reach, len(references), product.error(references.features))
    Sweep(product, queries, references, own, None, memory).run(lists)
    return np.where(lists.full, np.inf, lists.count)
