"""What TwoNN gives for uniform balls of known dimension at N samples; measured by benchmarks/ball_bias.py.

Finite N makes the estimate low, the more the higher the dimension: beside the curve of a layer these tell a rise that
any set of that dimension shows from one that comes with the scale.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Samples, and by dimension the mean of TwoNN (mle) over disjoint balls of so many; standard errors below 1 %.
SIZES = (128, 256, 512, 1024, 2048, 4096, 8192, 16384)
MEANS = {
    2: (1.98, 1.99, 2.00, 2.00, 1.99, 1.98, 2.01, 1.98),
    5: (4.63, 4.68, 4.69, 4.71, 4.88, 4.86, 4.82, 4.83),
    8: (7.05, 7.14, 7.22, 7.30, 7.48, 7.47, 7.51, 7.53),
    10: (8.54, 8.58, 8.82, 8.86, 9.04, 9.16, 9.21, 9.25),
    12: (9.95, 10.06, 10.38, 10.43, 10.46, 10.70, 10.88, 10.95),
    15: (11.90, 12.33, 12.42, 12.58, 12.83, 13.17, 13.09, 13.31),
    20: (14.86, 15.08, 15.68, 15.88, 16.34, 16.53, 16.78, 17.14),
    25: (17.75, 18.01, 18.74, 19.16, 19.56, 19.91, 20.28, 20.63),
    30: (20.04, 20.82, 21.35, 21.81, 22.43, 23.04, 23.39, 23.82),
    40: (24.56, 25.42, 26.88, 27.14, 28.09, 28.74, 29.43, 29.72),
    50: (29.11, 29.97, 31.04, 32.17, 32.56, 33.59, 34.77, 35.33),
    60: (32.27, 33.92, 34.91, 36.38, 37.48, 38.08, 39.60, 40.19),
    80: (39.06, 40.97, 42.78, 43.87, 45.22, 47.06, 48.04, 49.14),
    100: (44.39, 46.59, 49.61, 50.92, 53.30, 54.41, 56.15, 57.83),
}
MOST_CURVES = 4


def ball_curves(low: float, high: float, n_low: float, n_high: float) -> dict[int, NDArray[np.float64]]:
    """By dimension, of a few balls whose estimates lie between low and high: `(2, m)`, samples and estimates.

    Within n_low..n_high samples, and within what was measured; both ends interpolated in log N. Empty where no curve
    has two points there.
    """
    first, last = max(n_low, SIZES[0]), min(n_high, SIZES[-1])
    if first >= last:
        return {}
    found = {}
    for dimension, means in MEANS.items():
        sizes = np.array([first, *(size for size in SIZES if first < size < last), last])
        values = np.interp(np.log(sizes), np.log(SIZES), means)
        if low <= values[-1] <= high:
            found[dimension] = np.stack([sizes, values])
    kept = list(found)[:: -(-len(found) // MOST_CURVES)] if found else []
    return {dimension: found[dimension] for dimension in kept}
