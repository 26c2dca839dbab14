"""Signals that ask a run to end: at once, or when the one who works says so."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from rra_cli.core.signals import SIGNALS, Asked, Interrupted, deferred, exit_code, handled, never

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def send(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_ends_what_is_done_at_once(name: str) -> None:
    with handled(), pytest.raises(Interrupted, match=f"ended by {name}; the same command again") as caught:
        send(name)
    assert caught.value.exit_code == exit_code(caught.value) == (130 if name == "SIGINT" else 75)


def test_exit_code_of_a_plain_interrupt() -> None:
    assert exit_code(KeyboardInterrupt()) == 130


def test_an_interruption_is_no_exception_that_a_sweep_would_catch() -> None:
    assert not issubclass(Interrupted, Exception)
    assert issubclass(Interrupted, KeyboardInterrupt)


def interrupted(work: Callable[[Asked], None]) -> Interrupted:
    """What ends work that signals wait for."""
    with pytest.raises(Interrupted) as caught, handled(), deferred() as asked:
        work(asked)
    return caught.value


def test_deferred_it_is_told_when_asked() -> None:
    seen: list[Interrupted | None] = []

    def work(asked: Asked) -> None:
        seen.append(asked())
        send("SIGTERM")
        seen.append(asked())
        raise seen[1] or AssertionError

    assert interrupted(work) is seen[1]
    assert seen[0] is None
    assert seen[1] is not None
    assert seen[1].signal == signal.SIGTERM


def test_a_second_signal_does_not_wait() -> None:
    def work(asked: Asked) -> None:
        send("SIGUSR2")
        assert asked() is not None
        send("SIGTERM")
        pytest.fail("it went on")

    assert interrupted(work).signal == signal.SIGTERM


def test_under_torchrun_a_second_signal_is_the_first_one_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while the work is saved nor while the run is left; of the next run, a first one counts."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")

    def work(asked: Asked) -> None:
        send("SIGINT")
        send("SIGTERM")
        send("SIGTERM")

    def leaves() -> None:
        with handled():
            try:
                send("SIGUSR2")
            finally:
                send("SIGTERM")

    assert interrupted(work).signal == signal.SIGINT
    with pytest.raises(Interrupted, match="SIGUSR2"):
        leaves()
    assert interrupted(lambda asked: send("SIGTERM")).signal == signal.SIGTERM


def test_a_signal_that_nobody_asked_for_is_raised_at_the_end() -> None:
    reached: list[bool] = []

    def work(asked: Asked) -> None:
        send("SIGTERM")
        reached.append(True)

    assert interrupted(work).signal == signal.SIGTERM
    assert reached


def test_another_fault_passes_as_it_is() -> None:
    def work() -> None:
        with handled(), deferred():
            send("SIGTERM")
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        work()


def test_a_signal_of_an_earlier_job_is_forgotten() -> None:
    with pytest.raises(Interrupted), handled(), deferred():
        send("SIGTERM")
    with handled(), deferred() as asked:
        assert asked() is None


def test_handlers_are_put_back_and_ignored_signals_stay_ignored() -> None:
    before = [signal.getsignal(getattr(signal, name)) for name in SIGNALS]
    previous = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        with handled():
            send("SIGUSR2")
            assert signal.getsignal(signal.SIGTERM) != before[1], "the control: this one is ours"
        assert signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR2, previous)
    assert [signal.getsignal(getattr(signal, name)) for name in SIGNALS] == before


def test_in_another_thread_nothing_is_installed() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with handled(), deferred() as asked:
            seen.extend([signal.getsignal(signal.SIGTERM), asked()])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, None]
    assert never() is None
