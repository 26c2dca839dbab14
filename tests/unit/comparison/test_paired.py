"""Inter-model NNLS: the plain definition by sets, which models may be compared, and what is done about damage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from model_folders import DIGITS, LAYERS, finished_run

from rra_cli.comparison.groups import Grouping, group_runs
from rra_cli.comparison.matrices import UNLIKE, diagonal_rows, difference_rows, matrices, matrix_rows, model_rows
from rra_cli.comparison.paired import Compared, Refused, compare_models
from rra_cli.comparison.pairs import TOO_FEW
from rra_cli.comparison.runs import FinishedRun, GraphRow
from rra_cli.comparison.statistics import NO_SCATTER


def compared(*runs: FinishedRun, same_samples: bool = False) -> tuple[Grouping, list[Compared], list[Refused]]:
    grouping = group_runs(runs)
    found, refused = compare_models(grouping.groups, ["last"], same_samples=same_samples, threads=1)
    return grouping, found, refused


def by_sets(one: FinishedRun, a: GraphRow, other: FinishedRun, b: GraphRow) -> float:
    """Mean over the samples of |A ∩ B| / |A ∪ B|, from the files alone."""
    return float(np.mean(shares_by_sets(one, a, other, b)))


def shares_by_sets(one: FinishedRun, a: GraphRow, other: FinishedRun, b: GraphRow) -> list[float]:
    """By sample."""
    lists = [np.load(run.store / row.path / "indices.npy") for run, row in ((one, a), (other, b))]
    return [len(set(x) & set(y)) / len(set(x) | set(y)) for x, y in zip(*map(np.ndarray.tolist, lists), strict=True)]


def test_every_cell_is_the_mean_over_pairs_of_the_definition_by_sets(tmp_path: Path) -> None:
    runs = [finished_run(tmp_path, seed, group=group) for group in ("a", "b") for seed in range(3)]
    grouping, (found,), refused = compared(*runs)
    assert refused == []
    rows = [row for matrix in matrices(found, grouping.groups) for row in matrix_rows(matrix)]
    assert {(row["kind"], row["group_a"], row["group_b"], row["n_pairs"]) for row in rows} == {
        ("within", "model=a", "model=a", 6), ("within", "model=a", "model=a", 3), ("between", "model=a", "model=b", 6),
        ("within", "model=b", "model=b", 6), ("within", "model=b", "model=b", 3),
    }  # fmt: skip
    of = {group.label: group.runs for group in grouping.groups}
    for row in rows:
        pairs = [
            by_sets(one, one.graphs[row["index_a"]], other, other.graphs[row["index_b"]])
            for one in of[row["group_a"]]
            for other in of[row["group_b"]]
            if one.seed != other.seed
        ]
        assert row["mean"] == pytest.approx(np.mean(pairs), abs=1e-12)
        if row["kind"] == "between" or row["layer_a"] != row["layer_b"]:
            assert row["sd"] == pytest.approx(np.std(pairs, ddof=1), abs=1e-12)
        assert row["low"] <= row["mean"] <= row["high"]
        assert row["chance"] == pytest.approx(0.098, abs=0.01)
        if row["kind"] == "between":
            a, b = of[row["group_a"]], of[row["group_b"]]
            equal = [by_sets(*each) for one, other in zip(a, b, strict=True)
                     for each in [(one, one.graphs[row["index_a"]], other, other.graphs[row["index_b"]])]]  # fmt: skip
            assert (row["same_seed"], row["same_seed_n"]) == (pytest.approx(np.mean(equal), abs=1e-12), 3)
        else:
            assert row["same_seed_n"] == 0
    inputs = [row for row in rows if row["layer_a"] == row["layer_b"] == "input"]
    assert {(row["mean"], row["sd"]) for row in inputs} == {(1.0, 0.0)}, "all models see the same images"


def test_every_pair_of_models_is_there_by_itself(tmp_path: Path) -> None:
    runs = [finished_run(tmp_path, seed) for seed in range(3)]
    grouping, (found,), _ = compared(*runs)
    rows = list(model_rows(found, grouping.groups))
    assert len(rows) == 3 * len(LAYERS) ** 2
    own = [r for r in rows if (r["run_a"], r["run_b"], r["layer_a"]) == (runs[0].name, runs[2].name, "conv")]
    assert len(own) == len(LAYERS)
    for row in own:
        b = next(graph for graph in runs[2].graphs if graph.layer == row["layer_b"])
        shares = shares_by_sets(runs[0], runs[0].graphs[1], runs[2], b)
        assert row["nnls"] == pytest.approx(np.mean(shares), abs=1e-12)
        assert row["std_error"] == pytest.approx(np.std(shares, ddof=1) / len(shares) ** 0.5, abs=1e-12)


def test_other_architectures_have_rectangular_matrices_and_only_common_layers_a_diagonal(tmp_path: Path) -> None:
    deep = [finished_run(tmp_path, s, group="deep", layers=("input", "a", "b", "logits")) for s in range(2)]
    flat = [finished_run(tmp_path, s, group="flat", layers=("input", "logits")) for s in range(3)]
    grouping, (found,), refused = compared(*deep, *flat)
    assert refused == []
    between = next(matrix for matrix in matrices(found, grouping.groups) if matrix.kind == "between")
    rows = list(matrix_rows(between))
    assert len(rows) == 4 * 2
    cell = next(row for row in rows if (row["layer_a"], row["layer_b"]) == ("b", "logits"))
    pairs = [by_sets(x, x.graphs[2], y, y.graphs[1]) for x in deep for y in flat if x.seed != y.seed]
    assert cell["mean"] == pytest.approx(np.mean(pairs), abs=1e-12)
    assert (cell["n_pairs"], cell["n_a"], cell["n_b"], cell["same_seed_n"]) == (4, 2, 3, 2)
    assert {(row["reason"], np.isnan(row["low"])) for row in rows} == {(TOO_FEW, True)}
    assert (cell["index_a"], cell["index_b"]) == (2, 1)
    assert [row["layer"] for row in diagonal_rows(between)] == ["input", "logits"]
    within_a, _, within_b = matrices(found, grouping.groups)
    apart = list(difference_rows([within_a, within_b]))
    assert {(row["n_a"], row["n_b"], row["paired"], row["reason"]) for row in apart} == {(2, 3, "no", TOO_FEW)}
    assert {np.isnan(row["p"]) for row in apart} == {True}


def test_the_worst_recall_of_all_models_is_told_and_every_engine(tmp_path: Path) -> None:
    grouping, (found,), _ = compared(*(finished_run(tmp_path, seed) for seed in range(3)))
    searched = replace(found, recalls={0: 1.0, 1: 0.9, 2: 0.95}, engines={0: "exact", 1: "pynndescent", 2: "exact"})
    (matrix,) = matrices(searched, grouping.groups)
    assert {(row["engine"], row["recall"]) for row in matrix_rows(matrix)} == {("exact, pynndescent", 0.9)}


def test_differences_of_diagonals_are_those_of_the_means(tmp_path: Path) -> None:
    runs = [finished_run(tmp_path, seed, group=group) for group in ("a", "b") for seed in range(3)]
    grouping, (found,), _ = compared(*runs)
    within_a, between, within_b = matrices(found, grouping.groups)
    rows = list(difference_rows([within_a, between, within_b]))
    assert {(row["comparison_a"], row["comparison_b"]) for row in rows} == {
        ("model=a", "model=a × model=b"), ("model=a", "model=b"), ("model=a × model=b", "model=b"),
    }  # fmt: skip
    of_a, of_b = ([row["mean"] for row in diagonal_rows(each)] for each in (within_a, within_b))
    apart = [row for row in rows if row["comparison_b"] == "model=b" and row["comparison_a"] == "model=a"]
    assert [row["difference"] for row in apart] == pytest.approx(np.subtract(of_a, of_b).tolist())
    assert [row["paired"] for row in apart] == ["by seed"] * 3
    assert np.isnan(apart[0]["p"])
    assert [row["reason"] for row in apart] == [NO_SCATTER, "", ""], "the input is the same for all"


def test_one_run_of_a_seed_beside_another_of_it_is_compared_and_held_against_no_others(tmp_path: Path) -> None:
    seeds = {"a": (0,), "b": (0,), "c": (0, 1)}
    grouping, (found,), _ = compared(*(finished_run(tmp_path, s, group=g) for g, own in seeds.items() for s in own))
    of = {matrix.label: matrix for matrix in matrices(found, grouping.groups)}
    row = list(diagonal_rows(of["model=a × model=b"]))[1]
    assert row["mean"] == row["same_seed"] == found.matrix(0, 1)[1, 1]
    assert (row["n_pairs"], row["same_seed_n"]) == (1, 1)
    row = list(diagonal_rows(of["model=a × model=c"]))[1]
    assert (row["mean"], row["same_seed"]) == (found.matrix(0, 3)[1, 1], found.matrix(0, 2)[1, 1])
    rows = list(difference_rows(list(of.values())))
    told = {(r["comparison_a"], r["comparison_b"]): (r["reason"], np.isnan(r["difference"])) for r in rows}
    assert told["model=a × model=b", "model=a × model=c"] == (UNLIKE, True)
    assert told["model=a × model=c", "model=b × model=c"] == (TOO_FEW, False), "the control: neither is of one seed"


# Which models may be compared


def test_runs_on_other_samples_are_refused_with_the_reason(tmp_path: Path) -> None:
    drawn = {"test": {**DIGITS["test"], "subset_seed": 1}}
    other = finished_run(tmp_path, 5, group="other", samples=drawn)
    runs = [*(finished_run(tmp_path, seed) for seed in range(2)), other]
    grouping, found, (refused,) = compared(*runs)
    assert (refused.group_a, refused.group_b, refused.split) == ("model=mlp", "model=other", "test")
    assert refused.reason == "other samples: subset_seed – and 1"
    other_k = finished_run(tmp_path, 5, group="third", k=4, samples=drawn)
    (refused,) = compared(*runs[:2], other_k, same_samples=True)[2]
    assert refused.reason == "graphs of 5 and of 4 neighbours: give both the same neighbors.k"
    kinds = [(m.kind, m.label) for each in found for m in matrices(each, grouping.groups)]
    assert kinds == [("within", "model=mlp")], "the others are compared all the same"


def test_another_number_of_samples_or_neighbours_is_refused(tmp_path: Path) -> None:
    one = finished_run(tmp_path, 0)
    _, found, (fewer,) = compared(one, finished_run(tmp_path, 1, group="b", n=20))
    assert (found, fewer.reason) == ([], "other samples: 20 and 30 of them")
    _, found, (other_k,) = compared(one, finished_run(tmp_path, 1, group="b", k=4))
    assert found == []
    assert other_k.reason == "graphs of 4 and of 5 neighbours: give both the same neighbors.k"


def test_a_larger_graph_serves_a_smaller_k(tmp_path: Path) -> None:
    one, other = finished_run(tmp_path, 0, k=5), finished_run(tmp_path, 1, k=8, asked=5)
    one = replace(one, graphs=one.graphs[1:])
    other = replace(other, graphs=other.graphs[1:])
    _, (found,), refused = compared(one, other)
    assert refused == []
    assert found.k == 5
    lists = [np.load(run.store / run.graphs[0].path / "indices.npy")[:, :5].tolist() for run in (one, other)]
    shares = [len(set(x) & set(y)) / len(set(x) | set(y)) for x, y in zip(*lists, strict=True)]
    assert found.matrix(0, 1)[0, 0] == pytest.approx(np.mean(shares), abs=1e-12)


def test_files_without_labels_are_compared_only_where_the_user_says_so(tmp_path: Path) -> None:
    unknown = {"test": {"rows": {"n_samples": 30}, "labels": None}}
    runs = [finished_run(tmp_path, 0, group=group, samples=unknown) for group in ("a", "b")]
    _, found, (refused,) = compared(*runs)
    assert found == []
    assert "nobody can tell whether their rows are the same samples" in refused.reason
    assert "--same-samples" in refused.reason
    _, (told,), refused_now = compared(*runs, same_samples=True)
    assert (len(told.models), refused_now) == (2, [])
    fewer = finished_run(tmp_path, 0, group="c", k=4, samples=unknown)
    labelled = {"test": {"rows": {"n_samples": 30}, "labels": "ab"}}
    for other in (fewer, finished_run(tmp_path, 0, group="d", k=4, samples=labelled)):
        _, found, (refused_still,) = compared(runs[0], other, same_samples=True)
        assert found == [], "equal samples do not make other k comparable"
        assert refused_still.reason == "graphs of 5 and of 4 neighbours: give both the same neighbors.k"
        (without,) = compared(runs[0], other)[2]
        assert "nobody can tell" in without.reason, "the control: nobody said so"
    _, (known,), _ = compared(*(finished_run(tmp_path, 0, group=group, samples=labelled) for group in ("a", "b")))
    assert len(known.models) == 2


def test_runs_without_graphs_are_refused(tmp_path: Path) -> None:
    without = replace(finished_run(tmp_path, 2), graphs=(), no_graphs="it searched no neighbours")
    _, (found,), (refused,) = compared(finished_run(tmp_path, 0), finished_run(tmp_path, 1), without)
    assert len(found.models) == 2
    assert refused.reason == "mlp-2-30-5: it searched no neighbours"


# Damage


@pytest.mark.parametrize("damage", ["bit", "missing", "meta"])
def test_a_damaged_graph_keeps_its_run_out_and_is_named(tmp_path: Path, damage: str) -> None:
    runs = [finished_run(tmp_path, seed) for seed in range(3)]
    folder = runs[1].store / runs[1].graphs[1].path
    path = folder / "indices.npy"
    if damage == "bit":
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(bytes(data))
    elif damage == "missing":
        path.unlink()
    else:
        (folder / "meta.json").write_text("{}")
    _, (found,), (refused,) = compared(*runs)
    assert [model.run.seed for model in found.models] == [0, 2]
    assert refused.reason.startswith(f"mlp-1-30-5: the graph {runs[1].graphs[1].path} is damaged: ")
    if damage == "bit":
        assert "indices.npy has other content than was published (sha256 differs)" in refused.reason


def test_a_graph_that_was_removed_or_belongs_elsewhere_is_named(tmp_path: Path) -> None:
    runs = [finished_run(tmp_path, seed) for seed in range(3)]
    gone = replace(runs[1], graphs=(replace(runs[1].graphs[0], path="graph/none/k=5"), *runs[1].graphs[1:]))
    _, _, (refused,) = compared(runs[0], gone, runs[2])
    assert refused.reason.endswith("the graph graph/none/k=5 is no longer in the store")
    elsewhere = replace(runs[1].graphs[0], path="../store/" + runs[1].graphs[0].path)
    outside = replace(runs[1], graphs=(elsewhere, *runs[1].graphs[1:]))
    _, _, (refused,) = compared(runs[0], outside, runs[2])
    assert "is damaged: it is not the artifact that its name says" in refused.reason
    fewer = replace(runs[1], graphs=runs[1].graphs[1:])
    _, _, (refused,) = compared(runs[0], fewer, runs[2])
    assert "it has other layers than the first run of its group" in refused.reason


def test_a_graph_of_another_number_of_samples_than_was_measured_is_named(tmp_path: Path) -> None:
    runs = [finished_run(tmp_path, seed) for seed in range(3)]
    wrong = replace(runs[1], graphs=tuple(replace(row, n_samples=29) for row in runs[1].graphs))
    _, _, (refused,) = compared(runs[0], wrong, runs[2])
    assert refused.reason.endswith("has 30 samples, but the run measured 29")


def test_a_layer_that_has_collapsed_has_no_value_and_says_why(tmp_path: Path) -> None:
    runs = [
        finished_run(tmp_path, seed, reasons={"conv": "all rows are NaN"} if seed == 0 else {}) for seed in (0, 1, 2)
    ]
    grouping, (found,), refused = compared(*runs)
    assert refused == []
    rows = {row["layer"]: row for row in diagonal_rows(matrices(found, grouping.groups)[0])}
    assert (rows["conv"]["n_pairs"], rows["conv"]["n_a"]) == (1, 2)
    assert (rows["logits"]["n_pairs"], rows["logits"]["n_a"]) == (3, 3)
    pair = by_sets(runs[1], runs[1].graphs[1], runs[2], runs[2].graphs[1])
    assert rows["conv"]["mean"] == pytest.approx(pair, abs=1e-12)
    none = [replace(run, graphs=tuple(replace(row, reason="dead") for row in run.graphs)) for run in runs]
    grouping, (found,), _ = compared(*none)
    cells = list(matrix_rows(matrices(found, grouping.groups)[0]))
    assert all(np.isnan(row["mean"]) and "input: dead" in row["reason"] for row in cells)


def test_the_order_of_runs_changes_no_row(tmp_path: Path) -> None:
    runs = [finished_run(tmp_path, seed, group=group) for group in ("a", "b") for seed in range(3)]
    tables = []
    for order in (runs, runs[::-1], runs[3:] + runs[:3]):
        grouping, (found,), _ = compared(*order)
        tables.append([row for matrix in matrices(found, grouping.groups) for row in matrix_rows(matrix)])
    assert repr(tables[0]) == repr(tables[1]) == repr(tables[2])
