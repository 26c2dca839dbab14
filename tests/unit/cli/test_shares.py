"""Cores and GPUs of a machine shared out: everything is used, nothing twice unless it was asked for."""

from __future__ import annotations

import os

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rra_cli.cli import shares
from rra_cli.cli.shares import GPUS, THREADS, share_out
from rra_cli.config.experiment import Runtime
from rra_cli.core.resources import SHARERS, free_memory
from rra_cli.errors import UserError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    for name in (*THREADS, GPUS, SHARERS):
        monkeypatch.delenv(name, raising=False)

    def make(cores: int, gpus: int = 0) -> None:
        monkeypatch.setattr(shares, "_cores", lambda: cores)
        monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
        monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)

    return make


def threads(found: shares.Shares) -> set[str]:
    return {environment["OMP_NUM_THREADS"] for environment in found.environments}


@pytest.mark.parametrize(
    ("cores", "n_jobs", "n_all", "at_a_time", "each"),
    [
        (8, None, 20, 4, "2"),
        (8, 2, 20, 2, "4"),
        (8, -1, 20, 8, "1"),
        (8, 3, 20, 3, "2"),
        (8, 16, 20, 16, "1"),
        (8, None, 2, 2, "4"),
        (1, None, 5, 1, "1"),
        (3, None, 5, 1, "3"),
    ],
)
def test_threads_are_divided(machine, cores: int, n_jobs: int | None, n_all: int, at_a_time: int, each: str) -> None:
    machine(cores)
    found = share_out(Runtime(), n_jobs, n_all)
    assert found.n_jobs == at_a_time
    assert threads(found) == {each}
    assert all(environment[SHARERS] == str(at_a_time) for environment in found.environments)
    assert all(environment[name] == each for environment in found.environments for name in THREADS)
    assert not any(GPUS in environment for environment in found.environments)


def test_threads_that_were_asked_for_are_left(machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(8)
    found = share_out(Runtime(threads=4), None, 20)
    assert found.n_jobs == 2
    assert not any(name in environment for environment in found.environments for name in THREADS)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads(share_out(Runtime(), 2, 20)) == {"1"}, "fewer than the share"
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert threads(share_out(Runtime(), 2, 20)) == {"4"}, "more than there are"
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert threads(share_out(Runtime(), 2, 20)) == {"4"}


@pytest.mark.parametrize(
    ("gpus", "per_job", "n_jobs", "expected"),
    [
        (4, None, None, ["0", "1", "2", "3"]),
        (4, 2, None, ["0,1", "2,3"]),
        (3, 2, None, ["0,1"]),
        (2, 0.5, None, ["0", "1", "0", "1"]),
        (2, 1 / 3, None, ["0", "1"] * 3),
        (4, None, 2, ["0", "1"]),
        (2, None, 8, ["0", "1"]),
        (2, 0.5, 2, ["0", "1"]),
    ],
)
def test_gpus_are_shared_out(
    machine, gpus: int, per_job: float | None, n_jobs: int | None, expected: list[str]
) -> None:
    machine(8, gpus)
    found = share_out(Runtime(gpus_per_job=per_job), n_jobs, 50)
    assert [environment[GPUS] for environment in found.environments] == expected


@given(st.integers(1, 16), st.sampled_from([None, 0.1, 0.25, 0.5, 1, 2, 3, 5]))
def test_no_gpu_is_given_to_more_jobs_than_fit(gpus: int, per_job: float | None) -> None:
    if per_job is not None and per_job > gpus:
        return
    groups = shares._groups([str(gpu) for gpu in range(gpus)], per_job)
    uses = [gpu for group in groups for gpu in group]
    most = round(1 / per_job) if per_job is not None and per_job < 1 else 1
    assert all(uses.count(gpu) <= most for gpu in uses)
    assert all(len(group) == max(1, int(per_job or 1)) for group in groups)


def test_visible_gpus_keep_their_names(machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(8, 2)
    monkeypatch.setenv(GPUS, "5, GPU-ab")
    assert [environment[GPUS] for environment in share_out(Runtime(), None, 5).environments] == ["5", "GPU-ab"]


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_a_device_by_its_number_and_the_cpu_leave_gpus_as_they_are(machine, device: str) -> None:
    machine(8, 2)
    assert not any(GPUS in environment for environment in share_out(Runtime(device=device), 2, 5).environments)


def test_what_cannot_be_shared_out_is_refused(machine) -> None:
    machine(8, 1)
    with pytest.raises(UserError, match="gpus_per_job is 2, but of GPUs 1 is visible here"):
        share_out(Runtime(gpus_per_job=2), None, 5)
    for n_jobs in (0, -2, 1.5, "4", True):
        with pytest.raises(UserError, match=r"hydra\.launcher\.n_jobs is"):
            share_out(Runtime(), n_jobs, 5)


@pytest.mark.parametrize("wrong", [0.0, -1.0, 1.5, 0.4, float("nan"), float("inf"), 1e-3])
def test_gpus_per_job_is_a_whole_number_or_a_share(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"gpus_per_job is .*expected a whole number"):
        Runtime(gpus_per_job=wrong)
    for right in (None, 1, 2.0, 0.5, 0.25, 0.333):
        assert Runtime(gpus_per_job=right).gpus_per_job == right


def test_memory_is_shared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rra_cli.core.resources.container_headroom", lambda *_: [8 * 10**9])
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 12 * 10**9})())
    monkeypatch.delenv(SHARERS, raising=False)
    assert free_memory() == 8 * 10**9
    for sharers, expected in (("4", 2 * 10**9), ("1", 8 * 10**9), ("0", 8 * 10**9), ("x", 8 * 10**9)):
        monkeypatch.setenv(SHARERS, sharers)
        assert free_memory() == expected


def test_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= shares._cores() <= (os.cpu_count() or 1)
