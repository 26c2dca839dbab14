"""The Python examples of docs/neighbors.md run as they stand, one after the other, and give what the page says."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brute_force import gaussian, table

from rra_cli.metrics import nnls
from rra_cli.neighbors.descent import library as descent_library

PAGE = Path(__file__).parents[3] / "docs" / "neighbors.md"


class Library:
    """Stands in for pynndescent, which compiles for half a minute: lists the true neighbours."""

    def NNDescent(self, data: np.ndarray, n_neighbors: int, **_: Any) -> Library:
        self.neighbor_graph = (np.argsort(table(data, data), axis=1)[:, :n_neighbors], None)
        return self


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the examples have defined in the end; the data are ours."""
    from rra_cli.neighbors import exact_neighbors

    layers = [gaussian(300, 6, seed) + np.arange(300)[:, None] / 100 for seed in range(5)]
    found: dict[str, Any] = {
        "layer": gaussian(10_000, 4).astype(np.float32),
        "training": gaussian(200, 5),
        "validation": gaussian(50, 5, 1),
        "layer_a": layers[0],
        "layer_b": layers[1],
        "layers_a": layers[:3],
        "layers_b": layers[3:],
        "graph_c": exact_neighbors(layers[2], k=15),
    }
    stand_in = Library()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("examples"))
        np.save("layer.npy", layers[0])
        patch.setattr(descent_library, "load", lambda n_jobs: stand_in)
        patch.setattr(descent_library, "_compiled", {stand_in})
        for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
            exec(compile(code, str(PAGE), "exec"), found)
    return found


def test_overlaps_are_those_of_sets(names: dict[str, Any]) -> None:
    """All prefixes, all samples, all pairs of layers of a model, and between two."""
    lists = [graph.indices for graph in names["model_a"]]
    pairs = list(combinations(range(3), 2))
    assert names["found"].pairs.tolist() == [list(pair) for pair in pairs]
    for k in (1, 2, 7, 50):
        shared = [[len({*a[:k]} & {*b[:k]}) for a, b in zip(lists[p], lists[q], strict=True)] for p, q in pairs]
        assert np.allclose(names["curve"][k - 1], np.mean(shared, axis=1) / k)
    assert np.array_equal(names["by_sample"], np.array(shared) / 50)
    assert np.allclose(names["overlap"], names["curve"][-1])
    between = [nnls(a, b).value for a in names["model_a"] for b in names["model_b"]]
    assert names["nnls"] == pytest.approx(between)
    assert len({round(value, 6) for value in between}) == 6, "control: no two pairs of layers are alike"


def test_the_other_examples(names: dict[str, Any]) -> None:
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (names["validation"], names["training"])]
    cosine = np.sort(unit[0] @ unit[1].T, axis=1)[:, ::-1][:, :10]
    assert np.allclose(names["cosine"], cosine, atol=1e-6)
    assert names["graph_b"].recall == 1.0
    assert names["all_ranks"].shape == (2, 300, 1)
    assert 2 / 300 <= names["delta"] <= 1.2
