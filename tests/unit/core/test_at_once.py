"""Several files at a time: all are done, whoever waits for whom, and a fault ends it."""

from __future__ import annotations

import threading

import pytest

from rra_cli.core import at_once as module
from rra_cli.core.at_once import at_once


@pytest.fixture(autouse=True)
def _cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 3)


def test_all_are_done_and_as_many_at_a_time_as_there_are_cores() -> None:
    meeting, done = threading.Barrier(3), []

    def work(item: int) -> None:
        meeting.wait(20)
        done.append(item)

    at_once(work, range(9))
    assert sorted(done) == list(range(9))


def test_with_one_core_they_are_done_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 1)
    done: list[int] = []
    at_once(done.append, range(9))
    assert done == list(range(9))


def test_a_fault_is_raised_and_what_has_not_begun_is_left_out() -> None:
    done = []

    def work(item: int) -> None:
        done.append(item)
        if item == 0:
            raise KeyError("first")

    with pytest.raises(KeyError, match="first"):
        at_once(work, range(100_000))
    assert len(done) < 100_000


def test_of_nothing_nothing_is_done() -> None:
    at_once(lambda item: pytest.fail("called"), [])
