"""What a search takes: arrays of any kind that mean the same, sizes in words; and what it says of everything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brute_force import gaussian

from rra_cli.neighbors import (
    approximate_neighbors,
    cross_layer_ranks,
    exact_neighbors,
    exact_subset_graphs,
    neighbor_ranks,
)
from rra_cli.neighbors.arguments import workspace
from rra_cli.neighbors.graph import InputError
from rra_cli.neighbors.nn_descent import PynndescentEngine

X = gaussian(30, 4).astype(np.float32)
TENSOR = torch.from_numpy(X)


@pytest.mark.parametrize(
    "same",
    [
        X.tolist(),
        TENSOR,
        TENSOR.double(),
        TENSOR.clone().requires_grad_(),
        torch.nn.Parameter(TENSOR.clone()),
        TENSOR.t().contiguous().t(),
        torch.complex(TENSOR, -TENSOR).conj().imag,  # numbers whose sign torch has put off
    ],
    ids=["list", "tensor", "double", "requires_grad", "parameter", "transposed", "negated"],
)
def test_the_same_numbers_give_the_same_graph(same: Any) -> None:
    expected, found = exact_neighbors(X, 5), exact_neighbors(same, 5)
    assert np.array_equal(found.indices, expected.indices)
    assert np.array_equal(found.distances, expected.distances)


def test_bfloat16_is_taken_as_the_float32_that_it_is() -> None:
    rounded = TENSOR.bfloat16()
    found = exact_neighbors(rounded.requires_grad_(), 5)
    assert np.array_equal(found.distances, exact_neighbors(rounded.detach().float().numpy(), 5).distances)
    assert not np.array_equal(found.distances, exact_neighbors(X, 5).distances), "control: bfloat16 has three digits"


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (np.ma.masked_greater(X, 1.0), "masked array, whose mask would be lost", "leave out the masked"),
        (np.ma.asarray(X), "masked array", "array.filled"),
        (TENSOR.to_sparse(), "must be a dense tensor, got a sparse one", "tensor.to_dense()"),
        (TENSOR.to("meta"), "must be in main memory, got a tensor on meta", "tensor.cpu()"),
        (torch.nested.as_nested_tensor([TENSOR], layout=torch.jagged), "got a nested one", "the same size"),
        (torch.complex(TENSOR, TENSOR), "must be real numbers", ".astype"),
        ([[1.0, 2.0], [3.0]], "which this list is not", "the same number of features"),
        (TENSOR[0], r"must be two-dimensional", "reshape"),
    ],
    ids=["masked", "without a mask", "sparse", "meta", "nested", "complex", "ragged", "one row"],
)
def test_what_is_no_array_of_numbers_is_refused(data: Any, message: str, hint: str) -> None:
    for search in (
        lambda: exact_neighbors(data, 2),
        lambda: exact_neighbors(X, 2, reference=data),
        lambda: approximate_neighbors(data, 2),
        lambda: exact_subset_graphs(data, 2, [9]),
    ):
        with pytest.raises(InputError, match=message) as caught:
            search()
        assert hint in str(caught.value.hint)


def test_memory_may_be_given_in_words() -> None:
    assert workspace("4GB") == workspace(4_000_000_000) == workspace(np.int64(4_000_000_000)) == 4_000_000_000
    assert workspace(None) > 0
    graph = exact_neighbors(X, 3, memory="1MB")
    assert np.array_equal(graph.indices, exact_neighbors(X, 3).indices)
    assert neighbor_ranks(graph, X, memory="1MiB").shape == (30, 1)
    for wrong in ("4XB", 0, -5, 1e9, True, []):
        with pytest.raises(InputError, match="memory cannot be read") as caught:
            exact_neighbors(X, 3, memory=wrong)
        assert '"4GB"' in str(caught.value.hint)


def test_the_work_folder_may_be_a_text(tmp_path: Path) -> None:
    assert np.array_equal(exact_neighbors(X, 3, work=str(tmp_path)).indices, exact_neighbors(X, 3).indices)
    assert len(exact_subset_graphs(X, 3, [10, 30], work=str(tmp_path))) == 2


GRAPH = exact_neighbors(X, 3)


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        (lambda: exact_neighbors(X, 0), "k must be a whole number of at least 1, got 0", "give 1 or more"),
        (lambda: exact_neighbors(X, 2.0), "k must be a whole number, got 2.0", "give 2, without a point"),
        (lambda: exact_neighbors(X, 2.5), "k must be a whole number, got 2.5", "such as 10"),
        (lambda: exact_subset_graphs(X, 1, 10), "sizes must be a list of numbers of samples, got 10", r"sizes=[10]"),
        (lambda: cross_layer_ranks(GRAPH, X), "layers must be a list of graphs, got one", "[graph], or use neighbor_r"),
        (lambda: cross_layer_ranks(GRAPH.indices, X), "layers must be a list of graphs, got one", "[graph], or use"),
        (lambda: cross_layer_ranks([], X), "at least one graph, got none", "[graph]"),
        (lambda: GRAPH.prefix(9), r"k must lie in 1\.\.3, got 9", "as many neighbours as are read"),
        (lambda: GRAPH.prefix(0), r"k must lie in 1\.\.3, got 0", "as many neighbours as are read"),
    ],
)
def test_faults_say_what_to_do(call: Callable[[], Any], message: str, hint: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert hint in str(caught.value.hint)


def test_ranks_of_a_stack_of_ids_are_those_of_a_list() -> None:
    stack = np.stack([GRAPH.indices, GRAPH.indices[:, ::-1]])
    assert np.array_equal(cross_layer_ranks(stack, X), cross_layer_ranks(list(stack), X))


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_trees": -1},
        {"n_trees": 2.5},
        {"n_iters": 0},
        {"leaf_size": 0},
        {"max_candidates": 0},
        {"n_neighbors": 0},
        {"n_jobs": True},
        {"recall_rows": 0},
        {"seed": -1},
        {"seed": 2**32},
        {"delta": 5},
        {"delta": float("nan")},
    ],
    ids=str,
)
def test_the_function_and_the_component_refuse_the_same(wrong: dict[str, Any]) -> None:
    (name, value), said = next(iter(wrong.items())), []
    for call in (lambda: approximate_neighbors(X, 3, **wrong), lambda: PynndescentEngine(**wrong)):
        with pytest.raises(InputError, match=f"{name} is {value}; it must") as caught:
            call()
        said.append(str(caught.value))
    assert said[0] == said[1]
