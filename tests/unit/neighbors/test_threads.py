"""Rows in threads: each is done once, and threads of torch that search at the same time do not share theirs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from rra_cli.neighbors.threads import over_rows


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_every_row_is_done_once_and_pieces_begin_where_they_may() -> None:
    pieces: list[tuple[int, int]] = []
    over_rows(lambda a, b: pieces.append((a, b)), 1001, align=8)
    assert sorted(row for a, b in pieces for row in range(a, b)) == list(range(1001))
    assert all(a % 8 == 0 for a, _ in pieces)
    assert len(pieces) > 2


def test_two_searches_have_two_threads_each() -> None:
    """Four pieces wait for each other: with one pool of two threads for both they never would meet."""
    meeting = threading.Barrier(4)
    searches = [threading.Thread(target=over_rows, args=(lambda a, b: meeting.wait(20), 2)) for _ in range(2)]
    for search in searches:
        search.start()
    for search in searches:
        search.join()
    assert not meeting.broken


def test_threads_end_with_the_search_that_they_work_for() -> None:
    seen: list[threading.Thread] = []
    search = threading.Thread(target=over_rows, args=(lambda a, b: seen.append(threading.current_thread()), 100))
    search.start()
    search.join()
    for thread in seen:
        thread.join(20)
        assert not thread.is_alive()
