"""Exact moments of sums over permutations, sum_ij A_ij B_s(i)s(j), and p-values from the law that has the same moments.

Mantel 1967, "The detection of disease clustering and a generalized regression approach", Cancer Res. 27: mean and
variance. Kazi-Aoual et al. 1995, "Refined approximations to permutation tests for multivariate inference", Comput.
Stat. Data Anal. 20: the first three for centred products, which are those of the RV coefficient, that is of linear CKA.
Josse, Pages, Husson 2008, "Testing the significance of the RV coefficient", Comput. Stat. Data Anal. 53: the Pearson
III law of these three comes closest to the permutations. Here the moments come from sums over partitions of indices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import erfc, factorial, isnan, ldexp, nan, perm, prod, sqrt

from rra_cli.metrics.kernel_sums import KernelSums

# Below this skewness the Pearson III law is the normal one.
_STRAIGHT = 1e-4
# A standard deviation below this, relative to the kernels, is rounding: no permutation changes the sum.
_ROUNDING = 1e-13
# Sums of products of entries of A by the loops and vertices of the graph whose edges are the entries' index pairs. All
# others are 0, where rows and the diagonal sum to 0: those of a graph with a vertex of one edge, or of one loop alone.
_BY_GRAPH = {
    2: {(2, 1): "own_squares", (0, 2): "squares"},
    3: {(3, 1): "own_cubes", (1, 2): "weighted", (2, 2): "crossed", (0, 2): "cubes", (0, 3): "cyclic"},
}
Blocks = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Moments:
    """Of a value over all permutations. sd: > 0, NaN where it has no spread. skewness: third central moment / sd^3."""

    mean: float
    sd: float
    skewness: float


def permutation_moments(a: KernelSums, b: KernelSums) -> Moments:
    """Of sum_ij A_ij B_s(i)s(j) over all n! permutations s; both of n samples. Its mean is 0."""
    (a, of_a), (b, of_b) = a.scaled(), b.scaled()
    variance, third = _moment(a, b, 2), _moment(a, b, 3)
    if not variance > _ROUNDING**2 * a.kernel_squares * b.kernel_squares:
        return Moments(0.0, nan, nan)
    return Moments(0.0, ldexp(sqrt(variance), of_a + of_b), third / variance**1.5)


def pearson_p(value: float, moments: Moments) -> float:
    """The probability of a value as far from the mean as this, or farther, to either side, under the Pearson III law.

    That is the gamma law, moved and scaled, that has the three moments. NaN where there is no spread.
    """
    from scipy.special import gammainc, gammaincc

    if isnan(moments.sd):
        return nan
    z, skewness = abs(value - moments.mean) / moments.sd, abs(moments.skewness)
    if skewness < _STRAIGHT:
        return erfc(z / sqrt(2.0))
    shape = 4.0 / skewness**2
    above, below = shape + 2.0 * z / skewness, shape - 2.0 * z / skewness
    return min(1.0, float(gammaincc(shape, above)) + (float(gammainc(shape, below)) if below > 0.0 else 0.0))


def _moment(a: KernelSums, b: KernelSums, order: int) -> float:
    """The mean of the power `order` of the sum: over which of its indices are equal, as a permutation keeps that.

    Sums over different indices are those over all of them less what has more of them equal.
    """
    found = 0.0
    for (size, terms), times in _patterns(order).items():
        if size > a.n:
            continue
        one, other = (sum(factor * getattr(sums, name) for name, factor in terms) for sums in (a, b))
        found += times * one * other / perm(a.n, size)
    return found


@lru_cache(maxsize=2)
def _patterns(order: int) -> Counter[tuple[int, tuple[tuple[str, int], ...]]]:
    """Of every partition of the 2 x order indices: how many are different, and the sum over different ones, in terms
    of those over all; with the number of partitions that have these.
    """
    found = Counter[tuple[int, tuple[tuple[str, int], ...]]]()
    for partition in _partitions(range(2 * order)):
        terms = Counter[str]()
        for coarser in _partitions(range(len(partition))):
            name = _sum_of(tuple(tuple(i for part in block for i in partition[part]) for block in coarser), order)
            # The Moebius function of the lattice of partitions.
            terms[name] += prod((-1) ** (len(block) - 1) * factorial(len(block) - 1) for block in coarser)
        del terms[""]
        found[len(partition), tuple(sorted((name, factor) for name, factor in terms.items() if factor))] += 1
    return found


def _sum_of(blocks: Blocks, order: int) -> str:
    """Which sum has its indices equal within blocks; "" for one that is 0. Entry e has the indices 2 e and 2 e + 1."""
    vertex = {index: place for place, block in enumerate(blocks) for index in block}
    if min(len(block) for block in blocks) < 2:
        return ""
    loops = [vertex[2 * entry] for entry in range(order) if vertex[2 * entry] == vertex[2 * entry + 1]]
    if any(len(blocks[place]) == 2 for place in loops):
        return ""
    return _BY_GRAPH[order].get((len(loops), len(blocks)), "")


def _partitions(items: Sequence[int]) -> Iterator[Blocks]:
    """All partitions of some items into blocks."""
    if not items:
        yield ()
        return
    for rest in _partitions(items[1:]):
        yield ((items[0],), *rest)
        for place, block in enumerate(rest):
            yield (*rest[:place], (items[0], *block), *rest[place + 1 :])
