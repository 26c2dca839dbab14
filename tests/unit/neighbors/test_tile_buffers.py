"""A buffer of tiles is used again by the searches of a thread, and by no other thread."""

from __future__ import annotations

import threading

import numpy as np

from rra_cli.neighbors import exact_neighbors
from rra_cli.neighbors.tiles.buffers import buffer


def test_the_same_memory_again_and_more_where_it_does_not_suffice() -> None:
    first = buffer("test", 100)
    assert len(first) == 100
    assert np.shares_memory(buffer("test", 60), first)
    assert not np.shares_memory(buffer("other", 60), first)
    larger = buffer("test", 1000)
    assert len(larger) == 1000
    assert np.shares_memory(buffer("test", 100), larger)


def test_every_thread_has_its_own() -> None:
    mine, theirs = buffer("test", 10), []
    thread = threading.Thread(target=lambda: theirs.append(buffer("test", 10)))
    thread.start()
    thread.join()
    assert not np.shares_memory(mine, theirs[0])


def test_what_an_earlier_search_left_does_not_matter() -> None:
    """Tiles and marks, which are padded to whole words, after larger ones and after garbage; few rows need none."""
    rng = np.random.default_rng(0)
    small, large = rng.standard_normal((2003, 8)), rng.standard_normal((2600, 8))
    fresh = exact_neighbors(small, 5)
    exact_neighbors(large, 7)
    for use in ("first", "term", "cross", "marks"):
        buffer(use, 8 << 20)[:] = 255
    again = exact_neighbors(small, 5)
    np.testing.assert_array_equal(again.indices, fresh.indices)
    np.testing.assert_array_equal(again.distances, fresh.distances)
