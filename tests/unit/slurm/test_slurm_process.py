"""A process inside of a SLURM job: which signals count, and how much memory is its own."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from rra_cli.core.resources import free_memory, slurm_headroom
from rra_cli.core.signals import Interrupted, deferred, handled

MEMORY = ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE")


def after(*names: str) -> str | None:
    """The signal that ended a training which was sent these, if it came to ask; None where one ended it at once."""
    came_to_ask = False

    def train() -> None:
        nonlocal came_to_ask
        with handled(), deferred() as asked:
            for name in names:
                os.kill(os.getpid(), getattr(signal, name))
            came_to_ask = asked() is not None

    with pytest.raises(Interrupted) as caught:
        train()
    return caught.value.signal.name if came_to_ask else None


@pytest.fixture
def in_job(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    return monkeypatch


def test_slurm_sends_a_signal_several_times(in_job: pytest.MonkeyPatch) -> None:
    """Tried on a real one: a preempted step got SIGTERM three times. Outside of a job the second ends it at once."""
    assert after("SIGTERM", "SIGTERM", "SIGTERM") == "SIGTERM"
    assert after("SIGUSR2", "SIGTERM", "SIGTERM") == "SIGUSR2"
    in_job.delenv("SLURM_JOB_ID")
    assert after("SIGTERM", "SIGTERM") is None


@pytest.mark.usefixtures("in_job")
def test_ctrl_c_counts_in_an_interactive_job() -> None:
    assert after("SIGTERM", "SIGINT") is None


def test_a_job_has_the_memory_that_it_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MEMORY:
        monkeypatch.delenv(name, raising=False)
    assert slurm_headroom() == []
    used = psutil.Process().memory_info().rss
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "100000")
    (left,) = slurm_headroom()
    assert left == pytest.approx(100_000 * 2**20 - used, abs=2**28)
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1")
    assert slurm_headroom() == [0]
    assert free_memory() == 0
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "0")  # the whole node
    assert slurm_headroom() == []
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "50000")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "2")
    assert slurm_headroom() == [pytest.approx(left, abs=2**28)]
