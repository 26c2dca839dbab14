"""What a lease's record says of its owner: unreadable, in a circle, silent, or of another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lease_owners import elsewhere

from rra_cli.core.lease import Lease, Watch
from rra_cli.core.process import Owner, start_time
from rra_cli.errors import UserError


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
    for other in (
        Owner(me.id, "other", me.boot, me.namespace, 1 << 22, "1"),
        Owner(me.id, me.host, "other", me.namespace, 1 << 22, "1"),
        Owner(me.id, me.host, me.boot, "other", 1 << 22, "1"),
    ):
        assert not other.is_dead()
        assert not other.is_alive()


def test_a_process_that_ended_but_was_not_collected_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_time(child.pid) is None
    child.wait()
    assert start_time(child.pid) is None
    assert start_time(os.getppid()) is not None
