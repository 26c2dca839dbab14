"""Learning rates (and momenta) as pure functions of the step, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

ScheduleName = Literal["cosine", "one_cycle", "constant"]

# A one-cycle run starts at a 25th of its peak (Smith and Topin 2018, as in torch's OneCycleLR).
ONE_CYCLE_START = 1 / 25
# Where no warm-up is given, it takes this share of all steps. Cosine: the RRA thesis's 10 of 100 epochs.
DEFAULT_WARMUP: dict[ScheduleName, float] = {"cosine": 0.1, "one_cycle": 0.3, "constant": 0.0}


@dataclass(frozen=True)
class Rates:
    """What an optimiser uses in one step; momentum is None where the schedule leaves it alone."""

    lr: float
    momentum: float | None = None


def between(start: float, end: float, progress: float) -> float:
    """Half a cosine wave from start (progress 0) to end (progress 1)."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def constant(step: int, warmup: int, peak: float) -> float:
    """A linear rise from peak / warmup at step 0 to peak at step warmup - 1, then peak."""
    return peak * (step + 1) / warmup if step < warmup else peak


def cosine(step: int, total: int, warmup: int, peak: float, final: float) -> float:
    """The rise of `constant`, then half a cosine wave that would reach final at step `total`, one after the last.

    Loshchilov and Hutter 2017, eq. 5, without restarts; torch's CosineAnnealingLR with T_max = total - warmup.
    """
    if step < warmup:
        return constant(step, warmup, peak)
    return between(peak, final, (step - warmup) / (total - warmup))


def one_cycle_progress(step: int, total: int, warmup: int) -> tuple[bool, float]:
    """Whether the rate still rises, and how far the rise or the fall has come, in [0, 1].

    The peak is step warmup - 1 and the end step total - 1, as in torch's OneCycleLR, whose pct_start * total is warmup.
    """
    top = max(warmup - 1, 0)
    if step < top:
        return True, step / top
    return False, (step - top) / max(total - 1 - top, 1)


def one_cycle(step: int, total: int, warmup: int, peak: float, final: float) -> float:
    """Half a cosine wave up from a 25th of peak, another one down to final at the last step (Smith and Topin 2018)."""
    rising, progress = one_cycle_progress(step, total, warmup)
    return between(peak * ONE_CYCLE_START, peak, progress) if rising else between(peak, final, progress)


def one_cycle_momentum(step: int, total: int, warmup: int, low: float, high: float) -> float:
    """The mirror image of the rate: from high down to low at the peak, and back."""
    rising, progress = one_cycle_progress(step, total, warmup)
    return between(high, low, progress) if rising else between(low, high, progress)
