"""How far a run is: estimates, corrected by what is done, and the pace of what is being done."""

from __future__ import annotations

import pytest

from rra_cli.core.forecast import CORRECTED_AFTER, Forecast, Task
from rra_cli.core.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_task_is_left_as_much_as_its_pace_says(clock: Clock) -> None:
    """10 of 40 in 5 s leave 30, which take 15 s."""
    task = Task("train", clock)
    assert task.left() is None
    task.advance(0, 40)
    assert task.left() is None, "nothing is done yet, so nothing is known"
    clock.now += 5.0
    task.advance(10, 40, "epoch 1")
    assert task.left() == pytest.approx(15.0)
    assert task.as_json() == {"task": "train", "done": 10, "total": 40, "note": "epoch 1", "left": 15.0}


def test_a_resumed_task_does_not_count_what_was_done_before(clock: Clock) -> None:
    """From 30 to 35 of 40 in 5 s: 5 more take 5 s. Counted from 0, they would seem to take 0.7 s."""
    task = Task("train", clock)
    task.advance(30, 40)
    clock.now += 5.0
    task.advance(35, 40)
    assert task.left() == pytest.approx(5.0)


def test_what_waits_counts_as_estimated_until_something_is_done(clock: Clock) -> None:
    forecast = Forecast(clock)
    assert forecast.left() is None
    forecast.expect({"a": 10.0, "b": 20.0, "c": 30.0})
    assert forecast.left() == 60.0
    forecast.begin(["a", "unknown"])
    assert forecast.left() == 60.0


def test_a_machine_that_is_slower_corrects_the_estimates(clock: Clock) -> None:
    """10 estimated seconds took 30: the other 50 will take 150."""
    forecast = Forecast(clock)
    forecast.expect({"a": 10.0, "b": 20.0, "c": 30.0})
    forecast.begin(["a"])
    clock.now += 30.0
    forecast.begin(["b"])
    assert forecast.left() == pytest.approx(3.0 * (20.0 + 30.0))


def test_little_that_is_done_corrects_nothing(clock: Clock) -> None:
    forecast = Forecast(clock)
    forecast.expect({"a": 0.9 * CORRECTED_AFTER, "b": 20.0})
    forecast.begin(["a"])
    clock.now += 100.0
    forecast.begin(["b"])
    assert forecast.left() == 20.0


def test_the_innermost_task_knows_better_than_the_estimate_of_its_stage(clock: Clock) -> None:
    forecast = Forecast(clock)
    forecast.expect({"a": 10.0, "b": 20.0})
    forecast.begin(["a"])
    task = Task("a", clock)
    forecast.tasks.append(task)
    task.advance(0, 4)
    clock.now += 2.0
    task.advance(1, 4)
    assert forecast.left() == pytest.approx(6.0 + 20.0)


def test_what_was_not_expected_is_known_by_its_pace_alone(clock: Clock) -> None:
    """The report, after all stages: nothing of them is left."""
    forecast = Forecast(clock)
    forecast.expect({"a": 10.0, "b": 20.0})
    forecast.begin(["a"])
    forecast.expect({})
    assert forecast.left() is None
    task = Task("report", clock)
    forecast.tasks.append(task)
    task.advance(0, 3)
    clock.now += 4.0
    task.advance(2, 3)
    assert forecast.left() == pytest.approx(2.0)


class Quiet:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def task(self, title: str):
        from contextlib import nullcontext

        progress: Progress = lambda done, total, note="": self.heard.append((title, done, total, note))  # type: ignore[misc] # noqa: E731
        return nullcontext(progress)

    def note(self, message: str) -> None:
        self.heard.append(message)

    def warn(self, message: str) -> None: ...


def test_a_watched_reporter_is_seen_and_still_shows() -> None:
    forecast, reporter = Forecast(), Quiet()
    watched = forecast.watched(reporter)
    watched.note("hello")
    with watched.task("outer") as outer:
        outer(1, 2)
        with watched.task("inner") as inner:
            inner(3, 4, "five")
            assert [(task.title, task.done, task.total, task.note) for task in forecast.tasks] == [
                ("outer", 1, 2, ""),
                ("inner", 3, 4, "five"),
            ]
    assert forecast.tasks == []
    assert reporter.heard == ["hello", ("outer", 1, 2, ""), ("inner", 3, 4, "five")]


def test_a_task_that_fails_is_not_open_any_more() -> None:
    forecast = Forecast()
    with pytest.raises(RuntimeError), forecast.watched(Quiet()).task("x"):
        raise RuntimeError
    assert forecast.as_json() == {"left": None, "progress": []}
