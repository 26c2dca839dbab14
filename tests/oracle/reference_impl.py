"""Small, slow, obviously right versions of what is tested: float64, Python sets, fractions; nothing from `rra_cli`."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import gammainc


def hyper_ball(n: int, d: int, seed: int) -> np.ndarray:
    """`(n, d)` points uniform in the unit ball, by the recipe that the published numbers used."""
    x = np.random.RandomState(seed).normal(size=(n, d))
    q = (x**2).sum(axis=1, keepdims=True)
    return x * gammainc(d / 2, q / 2) ** (1 / d) / np.sqrt(q)


def random_rotation(d: int, seed: int) -> np.ndarray:
    """A `(d, d)` orthogonal matrix."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))
    return q * np.sign(np.diag(r))


def distance_matrix(queries: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Euclidean distances `(n, m)` by direct difference in float64.

    Pairs are scaled by a power of two, which costs no accuracy, so that squares neither overflow nor vanish; integer
    data gives exact squares, and so exact ties.
    """
    queries, reference = np.asarray(queries, np.float64), np.asarray(reference, np.float64)
    out = np.empty((len(queries), len(reference)))
    for i, query in enumerate(queries):
        difference = np.abs(reference - query)
        unit = np.exp2(np.frexp(difference.max(axis=1, keepdims=True))[1])
        out[i] = unit[:, 0] * np.sqrt(((difference / unit) ** 2).sum(axis=1))
    return out


def brute_force(x: np.ndarray, k: int, reference: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Ids and distances `(n, k)` of the nearest, ties by lower id; without a reference self is left out by id."""
    table = distance_matrix(x, x if reference is None else reference)
    ids, distances = [], []
    for i, row in enumerate(table):
        order = [j for j in sorted(range(len(row)), key=lambda j: (row[j], j)) if reference is not None or j != i]
        ids.append(order[:k])
        distances.append(row[order[:k]])
    return np.array(ids), np.array(distances)


def first_two(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """r1 and r2 of every row."""
    table = distance_matrix(x, x)
    np.fill_diagonal(table, np.inf)
    table.sort(axis=1)
    return table[:, 0], table[:, 1]


def log_ratios(x: np.ndarray) -> np.ndarray:
    """log(r2/r1) of the rows with r1 > 0."""
    r1, r2 = first_two(x)
    kept = r1 > 0
    return np.log(r2[kept] / r1[kept])


def twonn_mle(log_mu: np.ndarray, *, unbiased: bool = False) -> float:
    """N / sum(log mu), with `unbiased` (N-1) / sum(log mu)."""
    return (len(log_mu) - unbiased) / sum(log_mu)


def twonn_linear(log_mu: np.ndarray, discard: float = 0.1, first: int = 1) -> float:
    """Slope through the origin of -log(1-F) on log mu; `first=0` is the off-by-one that libraries have."""
    values = sorted(log_mu)
    n = len(values)
    pairs = [(v, -np.log(1 - (i + first) / n)) for i, v in enumerate(values) if i < int(n * (1 - discard))]
    return sum(v * y for v, y in pairs) / sum(v * v for v, _ in pairs)


def twonn_censored(log_mu: np.ndarray, discard: float = 0.1) -> float:
    """(n-1) / (sum of the n smallest log mu + (N-n) log mu_n)."""
    values = sorted(log_mu)
    n = int(len(values) * (1 - discard))
    return (n - 1) / (sum(values[:n]) + (len(values) - n) * values[n - 1])


def twonn_trimmed_mle(log_mu: np.ndarray, discard: float = 0.1) -> float:
    """The wrong one: throw the largest ratios away and use the plain estimate."""
    values = sorted(log_mu)[: int(len(log_mu) * (1 - discard))]
    return len(values) / sum(values)


def nncs_sets(ids: np.ndarray, labels: np.ndarray) -> tuple[float, list[float]]:
    """Mean and per-sample fraction of neighbours of the sample's own class."""
    per_sample = [sum(1 for j in row if labels[int(j)] == labels[i]) / len(row) for i, row in enumerate(ids.tolist())]
    return sum(per_sample) / len(per_sample), per_sample


def nncs_chance(labels: np.ndarray) -> Fraction:
    """sum over classes of p_c (n_c - 1) / (N - 1)."""
    n = len(labels)
    counts = [int((labels == c).sum()) for c in np.unique(labels)]
    return sum((Fraction(c, n) * Fraction(c - 1, n - 1) for c in counts), Fraction(0))


def nnls_sets(a: np.ndarray, b: np.ndarray) -> tuple[float, list[float]]:
    """Mean and per-sample intersection over union of two neighbour lists."""
    per_sample = [len(set(p) & set(q)) / len(set(p) | set(q)) for p, q in zip(a.tolist(), b.tolist(), strict=True)]
    return sum(per_sample) / len(per_sample), per_sample


def neighborhood_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """NO: mean of |intersection| / k."""
    return float(np.mean([len(set(p) & set(q)) / len(p) for p, q in zip(a.tolist(), b.tolist(), strict=True)]))


def nnls_chance(n: int, k: int) -> Fraction:
    """Expected intersection over union of two independent uniform k-subsets of n - 1 others."""
    others = n - 1
    total = comb(others, k)
    return sum(
        (
            Fraction(comb(k, c) * comb(others - k, k - c), total) * Fraction(c, 2 * k - c)
            for c in range(max(0, 2 * k - others), k + 1)
        ),
        Fraction(0),
    )


def true_recall(ids: np.ndarray, x: np.ndarray) -> float:
    """Fraction of the true neighbours in `ids`, over all rows."""
    x = np.asarray(x, np.float64)
    table = cdist(x, x)
    np.fill_diagonal(table, np.inf)
    truth = np.argsort(table, axis=1, kind="stable")[:, : ids.shape[1]]
    return float(np.mean([len(set(p) & set(q)) / len(q) for p, q in zip(ids.tolist(), truth.tolist(), strict=True)]))
