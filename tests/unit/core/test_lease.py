"""One owner at a time; a dead one is followed, by exactly one; a suspended one notices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rra_cli.core import process
from rra_cli.core.lease import Lease, LeaseHeldError, LeaseLostError, Watch
from rra_cli.core.process import Owner, start_time
from rra_cli.errors import UserError

HOLD = """
    import sys, time
    from pathlib import Path
    from rra_cli.core.lease import Lease
    lease = Lease(Path(sys.argv[1]), stale_after=float(sys.argv[2]))
    lease.acquire()
    print("held", flush=True)
    sys.stdin.readline()
    try:
        lease.check()
        print("mine", flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
    lease.release()
"""


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts python on code; kills what is left at the end."""
    children: list[subprocess.Popen[str]] = []

    def run(code: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        children.append(child)
        return child

    yield run
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


def say(child: subprocess.Popen[str], text: str = "go") -> str:
    """Sends a line and returns the answer."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(text + "\n")
    child.stdin.flush()
    return child.stdout.readline().strip()


def hear(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


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


def elsewhere(folder: Path) -> tuple[Path, Path]:
    """A lease as a process on another machine leaves it, and its counter's file."""
    link = folder / "first"
    link.mkdir(parents=True)
    owner = Owner("a" * 32, "elsewhere", "other start-up", "pid:[1]", 1, "123")
    (link / "owner.json").write_text(json.dumps(owner.as_json()))
    (link / "counter").write_text(f"{0:020d}")
    return folder, link / "counter"


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


def test_an_unreadable_record_says_what_to_remove(tmp_path: Path) -> None:
    owner = Owner.this_process().as_json()
    strange = [{"pid": 2**40}, {"pid": -1}, {"pid": True}, {"started": 5}, {"free": 1}, {"id": "../x"}, {"more": 1}]
    contents = ["{", "[]", '{"id": "x"}', "null", *(json.dumps(owner | change) for change in strange)]
    for number, content in enumerate(contents):
        folder, _ = elsewhere(tmp_path / f"lease{number}")
        (folder / "first" / "owner.json").write_text(content)
        with pytest.raises(UserError, match=r"the lease .*owner\.json is unreadable") as caught:
            Lease(folder).acquire()
        assert str(folder) in str(caught.value.hint)


def test_owners_that_follow_each_other_in_a_circle_are_no_chain(tmp_path: Path) -> None:
    folder, _ = elsewhere(tmp_path / "lease")
    (folder / f"after-{'a' * 32}").mkdir()
    (folder / f"after-{'a' * 32}" / "owner.json").write_bytes((folder / "first" / "owner.json").read_bytes())
    with pytest.raises(UserError, match=r"is unreadable \(its owners follow each other in a circle\)"):
        Lease(folder).look()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_watch_counts_silence_by_its_own_clock() -> None:
    clock = Clock()
    watch = Watch(30.0, clock)
    assert not watch.moves("0")  # the first look says nothing about life
    for _ in range(120):
        clock.now += 0.25
        assert not watch.moves("0")
    assert not watch.stale  # exactly 30 s
    clock.now += 0.25
    watch.moves("0")
    assert watch.stale
    assert watch.moves("1")
    assert not watch.stale


def test_a_watch_that_was_suspended_itself_has_not_watched() -> None:
    """A closed laptop stops owner and waiter alike; the waiter may wake first."""
    clock = Clock()
    watch = Watch(30.0, clock)
    watch.moves("0")
    clock.now += 3600
    watch.moves("0")
    assert not watch.stale


def test_a_process_number_used_again_is_another_process(tmp_path: Path) -> None:
    me = Owner.this_process()
    assert me.is_alive()
    assert not me.is_dead()
    reborn = Owner(me.id, me.host, me.boot, me.namespace, me.pid, "1")
    assert reborn.is_dead()
    for elsewhere in (
        Owner(me.id, "other", me.boot, me.namespace, 1 << 22, "1"),
        Owner(me.id, me.host, "other", me.namespace, 1 << 22, "1"),
        Owner(me.id, me.host, me.boot, "other", 1 << 22, "1"),
    ):
        assert not elsewhere.is_dead()
        assert not elsewhere.is_alive()


def test_a_process_that_ended_but_was_not_collected_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_time(child.pid) is None
    child.wait()
    assert start_time(child.pid) is None
    assert start_time(os.getppid()) is not None
