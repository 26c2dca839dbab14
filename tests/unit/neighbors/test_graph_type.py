"""A graph that breaks an invariant cannot be made."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rra_cli.neighbors import NeighborGraph
from rra_cli.neighbors import graph as graphs

IDS = np.array([[1, 2], [2, 0], [1, 0]], np.int32)
DISTANCES = np.array([[1.0, 2.0], [1.0, 1.0], [0.0, 3.0]])


def changed(array: np.ndarray, at: tuple[int, int], value: float) -> np.ndarray:
    copy = array.copy()
    copy[at] = value
    return copy


def test_a_right_one() -> None:
    graph = NeighborGraph(IDS, DISTANCES, 1.0, 3)
    assert (len(graph), graph.k) == (3, 2)
    assert graph.prefix(1).indices.tolist() == [[1], [2], [1]]
    with pytest.raises(ValueError, match=r"k must lie in 1\.\.2, got 3"):
        graph.prefix(3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.recall = 0.5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("ids", "distances", "message"),
    [
        (changed(IDS, (1, 1), 1), DISTANCES, "row 1 .* lists the sample as its own neighbour"),
        (changed(IDS, (2, 0), -1), DISTANCES, r"row 2 .* outside of 0\.\.2"),
        (changed(IDS, (0, 0), 3), DISTANCES, r"row 0 .* outside of 0\.\.2"),
        (changed(IDS, (0, 0), 2), DISTANCES, "row 0 .* lists a neighbour twice"),
        (IDS, changed(DISTANCES, (0, 0), 2.5), "row 0 .* is not sorted by distance"),
        (IDS, changed(DISTANCES, (0, 1), np.inf), "row 0 .* negative or not finite"),
        (IDS, changed(DISTANCES, (2, 0), -1.0), "row 2 .* negative or not finite"),
        (IDS, changed(DISTANCES, (1, 1), np.nan), "row 1 .* negative or not finite"),
        (IDS[:, 0], DISTANCES[:, 0], r"must both be \(n, k\)"),
        (IDS, DISTANCES[:, :1], r"must both be \(n, k\)"),
        (IDS, DISTANCES.astype(np.float32), "distances float64"),
        (IDS.astype(float), DISTANCES, "indices must be int32 or int64"),
    ],
)
def test_wrong_ones(ids: np.ndarray, distances: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NeighborGraph(ids, distances, 1.0, 3)


@pytest.mark.parametrize(
    ("recall", "n_reference", "message"),
    [
        (1.5, 3, r"recall must lie in \[0, 1\], got 1\.5"),
        (float("nan"), 3, r"recall must lie in \[0, 1\], got nan"),
        (1.0, 4, "has n_reference = n, got 4 and 3"),
        (1.0, 2, "has n_reference = n, got 2 and 3"),
    ],
)
def test_figures_that_cannot_be(recall: float, n_reference: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NeighborGraph(IDS, DISTANCES, recall, n_reference)


@pytest.mark.parametrize("row", [0, 17, 99])
def test_a_large_one_is_checked_in_parts(row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "_AT_A_TIME", 7)
    ids = (np.arange(100)[:, None] + [1, 2, 3]) % 100
    distances = np.tile([1.0, 2.0, 3.0], (100, 1))
    assert len(NeighborGraph(ids, distances, 1.0, 100)) == 100
    with pytest.raises(ValueError, match=f"row {row} .* lists a neighbour twice"):
        NeighborGraph(changed(ids, (row, 2), ids[row, 0]), distances, 1.0, 100)
