"""What HSIC, CKA and the mean squared canonical correlation of layers are when the samples of one of them are permuted.

All three are products of kernels, of which permutations change nothing but sum_ij A_ij B_s(i)s(j).
"""

from __future__ import annotations

from dataclasses import replace
from math import nan, sqrt

from rra_cli.metrics.canonical import CCA
from rra_cli.metrics.hsic import CKA, HSIC
from rra_cli.metrics.kernel_sums import KernelSums, u_centred
from rra_cli.metrics.permutation_moments import Moments, permutation_moments

Product = HSIC | CKA | CCA


def null_moments(metric: Product, a: KernelSums, b: KernelSums) -> Moments:
    """Exact moments of the metric over all permutations; sums: of both layers' kernels, of CCA those of their bases.

    The mean is the metric's chance level. NaN where the metric has no value. CCA: of `mean_square`.
    """
    n = a.n
    if isinstance(metric, CCA):
        # A basis of p directions: the trace of its kernel is p.
        factor, mean = 1.0 / min(a.trace, b.trace), a.trace * b.trace / (n - 1)
        own = (1.0, 1.0)
    elif metric.estimator == "unbiased":
        if n < 4:
            return Moments(nan, nan, nan)
        a, b = u_centred(a), u_centred(b)
        factor, mean, own = 1.0 / (n * (n - 3)), 0.0, (a.squares, b.squares)
    else:
        factor, mean = 1.0 / (n - 1) ** 2, a.trace * b.trace / (n - 1)
        own = (a.kernel_squares, b.kernel_squares)
    if isinstance(metric, CKA):
        factor = 1.0 / sqrt(own[0]) / sqrt(own[1]) if min(own) > 0.0 else nan
    found = permutation_moments(a, b)
    return replace(found, mean=mean * factor, sd=found.sd * factor)
