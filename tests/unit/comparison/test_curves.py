"""What runs measured by themselves, over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rra_cli.comparison.curves import cells_of, difference_rows, layer_rows, training_rows
from rra_cli.comparison.groups import Group
from rra_cli.comparison.runs import FinishedRun
from rra_cli.report.tables.frames import complete
from rra_cli.report.tables.schema import TABLES

Rows = list[dict[str, Any]]


def metrics(values: dict[str, float | None], *, epoch: int | None = 3, n: int = 50, **more: Any) -> pd.DataFrame:
    """One metric of the layers that have these values; None: a layer without a value, for a reason."""
    rows = [
        {
            **{"checkpoint": "last", "epoch": epoch, "split": "test", "layer": layer, "index": index, "pool": "none"},
            **{"scale": 1, "subset": 0, "n_samples": n, "k": 5, "metric": "nncs", "value": value, "std_error": 0.1},
            **{"chance": 0.1, "n_used": n, "reason": "collapsed" if value is None else "", "engine": "exact"},
            **{"recall": 1.0, "dataset": "", **more},
        }
        for index, (layer, value) in enumerate(values.items())
    ]
    return complete(pd.DataFrame(rows), TABLES["metrics"], "metrics")


def run(seed: int | None, frame: pd.DataFrame, training: pd.DataFrame | None = None) -> FinishedRun:
    none: Any = None
    return FinishedRun(f"run-{seed}", Path(), {}, seed, none, frame, training)


def group(*runs: FinishedRun, label: str = "lr=1") -> Group:
    return Group(label, {"optimizer.lr": "1"}, runs)


def rows(found: Group) -> Rows:
    return list(layer_rows(found, cells_of(found)))


def test_a_layer_has_mean_deviation_and_number_of_the_seeds_that_have_a_value() -> None:
    one, two, three = (metrics({"input": 0.5, "logits": value}) for value in (0.6, 0.8, None))
    first, last = rows(group(run(0, one), run(1, two), run(2, three)))
    assert (first["mean"], first["sd"], first["n"], first["depth"]) == (0.5, 0.0, 3, 0.0)
    assert (last["mean"], last["n"], last["depth"]) == (pytest.approx(0.7), 2, 1.0)
    assert last["sd"] == pytest.approx(0.02**0.5)
    assert last["reason"] == "collapsed"
    assert (last["optimizer.lr"], last["group"], last["chance"]) == ("1", "lr=1", pytest.approx(0.1))


def test_a_checkpoint_of_several_epochs_and_a_users_files_have_none() -> None:
    (best,) = rows(group(run(0, metrics({"a": 1.0}, epoch=3)), run(1, metrics({"a": 1.0}, epoch=4))))
    assert best["epoch"] is None
    (files,) = rows(group(run(None, metrics({"a": 1.0}, epoch=None))))
    assert (files["epoch"], files["n"]) == (None, 1)
    (same,) = rows(group(run(0, metrics({"a": 1.0})), run(1, metrics({"a": 1.0}))))
    assert same["epoch"] == 3, "the control"


def test_of_two_engines_the_exact_value_counts_and_the_worst_recall_is_told() -> None:
    both = pd.concat([metrics({"a": 0.1}, engine="pynndescent", recall=0.9), metrics({"a": 0.4})], ignore_index=True)
    (row,) = rows(group(run(0, both)))
    assert (row["mean"], row["engine"], row["recall"]) == (0.4, "exact", 1.0)
    mixed = group(run(0, metrics({"a": 0.4})), run(1, metrics({"a": 0.4}, engine="pynndescent", recall=0.9)))
    (row,) = rows(mixed)
    assert (row["engine"], row["recall"]) == ("exact, pynndescent", 0.9)


def test_groups_are_subtracted_where_n_and_k_are_equal() -> None:
    one = group(*(run(seed, metrics({"a": 0.5 + 0.1 * seed, "b": 0.2})) for seed in range(3)), label="x")
    other = group(*(run(seed, metrics({"a": 0.1 + 0.1 * seed, "c": 0.2})) for seed in range(3)), label="y")
    (row,) = difference_rows([one, other], [cells_of(one), cells_of(other)])
    assert (row["group_a"], row["group_b"], row["layer"], row["paired"]) == ("x", "y", "a", "by seed")
    assert row["difference"] == pytest.approx(0.4)
    few = group(*(run(seed, metrics({"a": 0.1})) for seed in range(2)), label="few")
    (row,) = difference_rows([one, few], [cells_of(one), cells_of(few)])
    assert (row["n_a"], row["n_b"], row["paired"]) == (3, 2, "no")
    larger = group(*(run(seed, metrics({"a": 0.1}, n=60)) for seed in range(3)), label="z")
    assert list(difference_rows([one, larger], [cells_of(one), cells_of(larger)])) == []


def test_the_history_of_training_is_averaged_by_epoch() -> None:
    history = [pd.DataFrame({"epoch": [0, 1], "loss": [2.0, loss], "note": ["a", "b"]}) for loss in (1.0, 0.5)]
    found = list(training_rows(group(*(run(s, metrics({"a": 1.0}), frame) for s, frame in enumerate(history)))))
    assert [(row["metric"], row["epoch"], row["mean"], row["n"]) for row in found] == [
        ("loss", 0, 2.0, 2), ("loss", 1, 0.75, 2),
    ]  # fmt: skip
    assert list(training_rows(group(run(0, metrics({"a": 1.0}))))) == []
