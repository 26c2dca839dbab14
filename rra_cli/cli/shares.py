"""How the cores and GPUs of a machine are shared out among jobs that run at the same time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rra_cli.config.experiment import Runtime
from rra_cli.core.resources import SHARERS, THREADS
from rra_cli.errors import UserError

GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Shares:
    """What jobs get. environments: a place for a job each, what is set for it; a job at a time takes one."""

    environments: tuple[Mapping[str, str], ...]

    @property
    def n_jobs(self) -> int:
        """Jobs at a time."""
        return len(self.environments)


def share_out(runtime: Runtime, n_jobs: Any, n_all: int) -> Shares:
    """The places for the jobs of a sweep on this machine.

    n_jobs: at a time, as the launcher's field says; n_all: of the whole sweep. What a job gets does not depend on how
    many are left to do, since the last bits of a training may depend on its threads. Raises `UserError` where n_jobs
    is no number of jobs, or where a job asks for more GPUs than there are.
    """
    number = isinstance(n_jobs, int) and not isinstance(n_jobs, bool)
    if n_jobs is not None and not (number and (n_jobs > 0 or n_jobs == -1)):
        raise UserError(f"hydra.launcher.n_jobs is {n_jobs!r}", "give a number of jobs, -1 for one a core, or null")
    cores = _cores()
    gpus = _visible_gpus(runtime.device)
    groups = _groups(gpus, runtime.gpus_per_job)
    if n_jobs is None:
        at_a_time = len(groups) if groups else max(1, cores // (runtime.threads or 2))
    else:
        at_a_time = cores if n_jobs == -1 else n_jobs
    at_a_time = max(1, min(at_a_time, n_all, len(groups) or at_a_time))
    threads = str(_threads(cores // at_a_time))
    common = {SHARERS: str(at_a_time)} | (dict.fromkeys(THREADS, threads) if runtime.threads is None else {})
    return Shares(
        tuple({**common, **({GPUS: ",".join(groups[place])} if groups else {})} for place in range(at_a_time))
    )


def _threads(share: int) -> int:
    """Of a job: its share, unless the environment leaves it fewer."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(share, int(given)) if given.isdecimal() and int(given) else share)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _visible_gpus(device: str) -> list[str]:
    """The GPUs that a job may be given, as CUDA_VISIBLE_DEVICES names them; none where all jobs use one that is named
    by its number, or none.
    """
    if device not in ("auto", "cuda"):
        return []
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name.strip() for name in os.environ.get(GPUS, "").split(",") if name.strip()]
    return named[:count] if named else [str(index) for index in range(count)]


def _groups(gpus: list[str], per_job: float | None) -> list[list[str]]:
    """The GPUs of each place. Several places share a GPU where a job needs less than one.

    Places that share one are as far apart as can be, so that a few jobs have a GPU each.
    """
    if not gpus:
        return []
    if per_job is not None and per_job < 1:
        return [[gpu] for _ in range(round(1 / per_job)) for gpu in gpus]
    size = 1 if per_job is None else int(per_job)
    if size > len(gpus):
        raise UserError(
            f"runtime.gpus_per_job is {size}, but of GPUs {len(gpus)} {'is' if len(gpus) == 1 else 'are'} visible here",
            "set it to at most that number, or runtime.device=cpu",
        )
    return [gpus[start : start + size] for start in range(0, len(gpus) - size + 1, size)]
