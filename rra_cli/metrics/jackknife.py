"""Standard errors and intervals of metrics of activations, from the values that leaving out one sample would give.

The jackknife (Tukey 1958; Efron, Stein 1981, "The jackknife estimate of variance", Ann. Statist. 9: never too small in
the mean). It is right for what is smooth in the samples, as sums over pairs of samples, variances and correlations are,
and as means over neighbour lists are not (`uncertainty`). No value is measured anew: what is left after a sample is
taken out follows in closed form from what that sample adds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A mean that fewer samples than this decide says nothing of other samples; nor do sets of fewer than that many.
FEWEST_DECIDE, FEWEST_SAMPLES = 10.0, 50
# Changes of a similarity from 1, or of values relative to themselves, that may be rounding.
ROUNDING = 1e-12
NONE = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Spread:
    """How far a value moves with other samples. std_error: of the value, >= 0. decide: by how many samples, at least 1,
    it is decided: (sum e)^2 / sum e^2 of their shares e of the variance. n: samples. reason: why it is not known, the
    numbers then being NaN.
    """

    std_error: float
    decide: float
    n: int
    reason: str = ""

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the standard error (Satterthwaite 1946): n - 1 or so for normal influences."""
        return 2.0 * self.decide / max(1.0 - self.decide / self.n, 1e-9)

    def array(self) -> NDArray[np.float64]:
        """`(3,)`: as it is stored."""
        return np.array([self.std_error, self.decide, self.n])

    def reach(self, level: float) -> float:
        """Half of the interval, in the units of the value; NaN where it is not known."""
        from scipy.special import stdtrit

        if not self.std_error > 0.0:
            return self.std_error
        if self.decide < FEWEST_DECIDE:
            return float("nan")
        return float(stdtrit(self.freedom, 0.5 + level / 2)) * self.std_error


def unknown(reason: str) -> Spread:
    """None, and why."""
    return Spread(float("nan"), float("nan"), 0, reason)


def spread(without: NDArray[np.float64], n: int) -> Spread:
    """Of a value of n samples. without: `(m,)` the values without one of them, of all n or of m drawn at random."""
    if n < FEWEST_SAMPLES:
        return unknown(f"{n} samples, of which {FEWEST_SAMPLES} are needed")
    if not np.isfinite(without).all():
        return unknown("without a single sample it has no value")
    exponent = int(np.frexp(np.abs(without).max())[1])  # fourth powers of values that are neither 1e100 nor 1e-100
    values = np.ldexp(without, -exponent)
    squares = np.square(values - values.mean())
    total = float(squares.sum())
    if total <= len(without) * (ROUNDING * float(np.abs(values).max())) ** 2:
        return Spread(0.0, float(n), n)
    decide = total**2 / float(squares @ squares) * n / len(without)
    error = (n - 1) * (total / (len(without) - 1) / n) ** 0.5
    return Spread(float(np.ldexp(error, exponent)), decide, n, few(decide))


def few(decide: float) -> str:
    """Why so few samples do not do; "" where they do."""
    return f"fewer than {FEWEST_DECIDE:.0f} samples decide" if decide < FEWEST_DECIDE else ""


def of_correlation(value: float, reach: float, low: float) -> tuple[float, float]:
    """An interval of what lies between low and 1, on the scale of its inverse hyperbolic tangent (Fisher 1915)."""
    if np.isnan(reach):
        return NONE
    if reach <= 0.0 or abs(value) >= 1.0 - ROUNDING:
        return value, value
    middle, half = np.arctanh(value), reach / (1.0 - value**2)
    return max(float(np.tanh(middle - half)), low), float(np.tanh(middle + half))


def of_positive(value: float, reach: float, least: float) -> tuple[float, float]:
    """An interval of what is at least `least` > 0, on the scale of its logarithm."""
    factor = float(np.exp(reach / value))
    return max(value / factor, least), value * factor


def of_signed(value: float, error: float, reach: float, least: float) -> tuple[float, float]:
    """An interval of what may have either sign, on the scale of asinh(value / 2 error): linear around 0, else a
    logarithm. It has the unit of the value.
    """
    if not reach > 0.0:
        return value - reach, value + reach
    unit = 2.0 * error
    middle, half = np.arcsinh(value / unit), reach / float(np.hypot(value, unit))
    return max(unit * float(np.sinh(middle - half)), least), unit * float(np.sinh(middle + half))


def wilson(value: float, n: int, level: float) -> tuple[float, float]:
    """Of a fraction of n independent draws: those p that it does not contradict (Wilson 1927, JASA 22); in [0, 1]."""
    from scipy.special import ndtri

    z2 = float(ndtri(0.5 + level / 2)) ** 2
    middle = (value + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * (value * (1 - value) / n + z2 / (4 * n**2))) ** 0.5 / (1 + z2 / n)
    low = 0.0 if value <= 0.0 else max(middle - half, 0.0)
    return low, 1.0 if value >= 1.0 else min(middle + half, 1.0)
