"""One owner at a time; a dead one is followed, by exactly one; a suspended one notices."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from lease_owners import HOLD, Start, elsewhere, hear, say

from rra_cli.core import process
from rra_cli.core.lease import Lease, LeaseHeldError, LeaseLostError


def test_a_living_owner_is_waited_for(tmp_path: Path, start: Start) -> None:
    folder = tmp_path / "lease"
    child = start(HOLD, folder, 0.8)
    assert hear(child) == "held"
    heard: list[str] = []
    taken = threading.Event()

    def wait() -> None:
        lease = Lease(folder, stale_after=0.8)
        lease.acquire(heard.append)
        taken.set()
        lease.release()

    thread = threading.Thread(target=wait)
    thread.start()
    # Twice the time after which silence would count: the heartbeat is what keeps the lease.
    assert not taken.wait(1.8)
    assert say(child) == "mine"
    assert taken.wait(5)
    thread.join()
    assert heard == [f"waiting for process {child.pid} on {process._machine()[0]}"]


def test_a_dead_owner_is_followed_at_once(tmp_path: Path, start: Start) -> None:
    """Even before its parent collected it, and long before the silence would count."""
    folder = tmp_path / "lease"
    child = start(HOLD, folder, 3600)
    assert hear(child) == "held"
    child.kill()
    heard: list[str] = []
    begin = time.monotonic()
    lease = Lease(folder, stale_after=3600)
    lease.acquire(heard.append)
    assert time.monotonic() - begin < 5
    assert heard[-1].startswith(f"going on with what process {child.pid}")
    lease.check()
    lease.dissolve()


def test_a_suspended_owner_loses_the_lease_and_notices(tmp_path: Path, start: Start) -> None:
    folder = tmp_path / "lease"
    child = start(HOLD, folder, 0.4)
    assert hear(child) == "held"
    os.kill(child.pid, signal.SIGSTOP)
    lease = Lease(folder, stale_after=0.4)
    lease.acquire()
    os.kill(child.pid, signal.SIGCONT)
    assert say(child) == "LeaseLostError"
    child.wait(5)
    lease.check()  # and its end did not disturb the heir
    assert len(lease.predecessors) == 1
    lease.dissolve()
    assert not folder.exists()


def test_an_owner_on_another_machine_is_judged_by_its_counter_alone(tmp_path: Path) -> None:
    """Process number and start time say nothing there: a silent one is followed only after the silence."""
    folder, counter = elsewhere(tmp_path / "lease")
    stop = threading.Event()

    def beat() -> None:
        number = 0
        while not stop.wait(0.05):
            number += 1
            counter.write_text(f"{number:020d}")

    thread = threading.Thread(target=beat)
    thread.start()
    with pytest.raises(LeaseHeldError, match="process 1 on elsewhere"):
        Lease(folder, stale_after=0.5).acquire(wait=False)
    stop.set()
    thread.join()
    begin = time.monotonic()
    lease = Lease(folder, stale_after=0.5)
    lease.acquire(wait=False)
    assert time.monotonic() - begin > 0.5
    lease.dissolve()


@pytest.mark.long
def test_of_eight_waiters_exactly_one_follows(tmp_path: Path, start: Start) -> None:
    """Inside the lease everybody checks that nobody else is inside; every one gets its turn once."""
    folder, _ = elsewhere(tmp_path / "lease")
    code = """
        import os, sys, time
        from pathlib import Path
        from rra_cli.core.lease import Lease
        folder, inside, log = map(Path, sys.argv[1:])
        lease = Lease(folder, stale_after=1.5)
        lease.acquire()
        os.mkdir(inside)   # fails where another is inside
        with open(log, "a") as file:
            file.write("x")
        time.sleep(0.02)
        lease.check()
        os.rmdir(inside)
        lease.release()
    """
    children = [start(code, folder, tmp_path / "inside", tmp_path / "log") for _ in range(8)]
    assert [child.wait(30) for child in children] == [0] * 8
    assert (tmp_path / "log").read_text() == "x" * 8


def test_the_race_test_sees_two_owners(tmp_path: Path, start: Start) -> None:
    """Negative control: without a lease the same check fails."""
    code = """
        import os, sys, time
        while not os.path.exists(sys.argv[2]):
            time.sleep(0.001)
        os.mkdir(sys.argv[1])
        time.sleep(0.5)
        os.rmdir(sys.argv[1])
    """
    children = [start(code, tmp_path / "inside", tmp_path / "go") for _ in range(2)]
    time.sleep(0.3)
    (tmp_path / "go").touch()
    assert sorted(child.wait(30) for child in children) == [0, 1]


def test_a_view_that_is_out_of_date_wins_nothing(tmp_path: Path) -> None:
    """A waiter that saw the old owner die, slept, and acts when the lease has been taken, released and taken again."""
    folder = tmp_path / "lease"
    first, second, third, slow = (Lease(folder, stale_after=5) for _ in range(4))
    first.acquire()
    seen = first.owner
    first.release()
    second.acquire()
    assert not slow._follow(seen)
    assert not slow._follow(None)
    second.check()
    # The folder may even have been removed and made again.
    second.dissolve()
    third.acquire()
    assert not slow._follow(seen)
    third.check()
    third.dissolve()


def test_wait_false_names_a_living_owner_at_once(tmp_path: Path, start: Start) -> None:
    folder = tmp_path / "run" / "lease"
    child = start(HOLD, folder, 3600)
    assert hear(child) == "held"
    with pytest.raises(LeaseHeldError, match=f"{tmp_path / 'run'} is in use by process {child.pid} on ") as caught:
        Lease(folder, stale_after=3600).acquire(wait=False)
    assert caught.value.owner.pid == child.pid
    assert "wait until that process has ended" in str(caught.value.hint)


def test_a_released_lease_is_free_at_once_and_a_dissolved_one_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "lease"
    for _ in range(3):
        lease = Lease(folder, stale_after=3600)
        lease.acquire(wait=False)
        lease.release()
    assert Lease(folder).look() is None
    lease = Lease(folder, stale_after=3600)
    lease.acquire(wait=False)
    assert lease.look() == lease.owner
    lease.dissolve()
    assert list(tmp_path.iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("(_beat)")]


def test_a_lost_lease_says_so_and_leaves_the_heir_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "lease"
    lost, heir = Lease(folder, stale_after=0.3), Lease(folder, stale_after=0.3)
    lost.acquire()
    assert heir._follow(lost.owner)
    with pytest.raises(LeaseLostError, match=rf"lost the lease of .*run.*process {os.getpid()} on .* has taken over"):
        lost.check()
    lost.release()
    lost.stop()
    heir.check()
    heir.dissolve()


def test_a_forked_child_leaves_its_parents_lease_alone(tmp_path: Path, start: Start) -> None:
    code = """
        import os, sys
        from pathlib import Path
        from rra_cli.core.lease import Lease
        lease = Lease(Path(sys.argv[1]))
        lease.acquire()
        pid = os.fork()
        if pid == 0:
            lease.release()
            lease.dissolve()
            os._exit(0)
        os.waitpid(pid, 0)
        lease.check()
        lease.dissolve()
    """
    assert start(code, tmp_path / "lease").wait(20) == 0


def test_a_thread_does_not_wait_for_itself(tmp_path: Path) -> None:
    lease = Lease(tmp_path / "lease")
    lease.acquire()
    with pytest.raises(RuntimeError, match="would wait for itself"):
        Lease(tmp_path / "lease").acquire()
    lease.dissolve()
