"""Which points are correlated, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rra_cli.comparison.correlation import check_columns, correlation_rows, default_pairs, point_rows
from rra_cli.comparison.groups import Group, group_runs
from rra_cli.comparison.runs import FinishedRun
from rra_cli.errors import UserError
from rra_cli.report.tables.frames import complete
from rra_cli.report.tables.schema import TABLES

LAYERS = ("input", "conv", "gap", "logits")
Value = Callable[[int, int, int], float]


def run(seed: int, x: Value, y: Value, *, rate: float = 0.1, epochs: tuple[int, ...] = (0, 1, 2, 5)) -> FinishedRun:
    """x, y: of seed, index of the layer and epoch."""
    rows = [
        {
            **{"checkpoint": "last" if epoch == epochs[-1] else f"epoch_{epoch:04}", "epoch": epoch, "split": "test"},
            **{"layer": layer, "index": index, "pool": "none", "scale": 1, "subset": 0, "n_samples": 50},
            **{"n_features": 8, "k": 5, "x": x(seed, index, epoch), "y": y(seed, index, epoch), "y_chance": 0.1},
        }
        for epoch in epochs
        for index, layer in enumerate(LAYERS)
    ]
    frame = complete(pd.DataFrame(rows), TABLES["layers"], "layers")
    config = {"seed": seed, "optimizer": {"name": "sgd", "lr": rate}}
    training = pd.DataFrame({"epoch": epochs, "test_accuracy": [0.1 * seed + 0.01 * epoch for epoch in epochs]})
    none: Any = None
    return FinishedRun(f"{rate}-{seed}", Path(), config, seed, frame, none, training)


def groups(*runs: FinishedRun) -> tuple[Group, ...]:
    return group_runs(runs).groups


def rows(found: tuple[Group, ...], over: str, **where: Any) -> list[dict[str, Any]]:
    every = correlation_rows(found, [("x", "y")])
    return [r for r in every if r["over"] == over and all(r[key] == value for key, value in where.items())]


def test_over_runs_the_points_are_seeds_of_one_layer_at_the_last_checkpoint() -> None:
    noise = np.random.RandomState(0).normal(size=8)
    found = groups(
        *(run(s, lambda s, i, e: float(s + i), lambda s, i, e: float(noise[s] * (e == 5))) for s in range(8))
    )
    (row,) = rows(found, "runs", layer="conv")
    assert (row["n"], row["checkpoint"], row["note"]) == (8, "last", "")
    assert row["r"] == pytest.approx(np.corrcoef(np.arange(8), noise)[0, 1], abs=1e-12)
    assert row["p_effective"] == row["p"]


def test_groups_together_can_hide_what_each_shows() -> None:
    """Simpson's paradox: within both groups y falls with x, over all runs it rises."""
    low = [run(s, lambda s, i, e: float(s), lambda s, i, e: -float(s)) for s in range(3)]
    high = [run(s, lambda s, i, e: s + 50.0, lambda s, i, e: 50.0 - s, rate=0.2) for s in range(3)]
    found = groups(*low, *high)
    own = rows(found, "runs", layer="gap")
    assert {row["group"]: round(row["r"], 6) for row in own if row["group"]} == {
        "optimizer.lr=0.1": -1.0, "optimizer.lr=0.2": -1.0,
    }  # fmt: skip
    (pooled,) = (row for row in own if row["group"] == "")
    assert pooled["r"] > 0.99
    assert pooled["note"].startswith("runs of all groups")


def test_over_layers_and_epochs_the_points_are_means_over_seeds_and_said_to_follow_each_other() -> None:
    found = groups(*(run(s, lambda s, i, e: i + 2.0 * s + e, lambda s, i, e: (i + e) ** 2.0 - s) for s in range(2)))
    (along,) = rows(found, "layers")
    assert along["n"] == 4
    assert along["r"] == pytest.approx(np.corrcoef(np.arange(4), (np.arange(4) + 5.0) ** 2)[0, 1], abs=1e-12)
    assert "each made from the one before" in along["note"]
    (over,) = rows(found, "epochs", layer="conv")
    epochs = np.array([0, 1, 2, 5])
    assert over["n"] == 4
    assert over["r"] == pytest.approx(np.corrcoef(epochs, (epochs + 1.0) ** 2)[0, 1], abs=1e-12)
    assert "follow each other: p is too small" in over["note"]
    a, b = 2 / 14, 45.25 / 769  # lag-1 autocorrelations of 0, 1, 2, 5 and of 1, 4, 9, 36
    assert over["n_effective"] == pytest.approx(4 * (1 - a * b) / (1 + a * b))
    (later,) = rows(found, "epochs>0", layer="conv")
    assert later["n"] == 3


def test_the_initialisation_can_make_a_correlation_alone() -> None:
    """With it the columns rise together; without it they do not."""
    wobble = {0: -50.0, 1: 0.3, 2: -0.2, 5: 0.1}
    found = groups(run(0, lambda s, i, e: -40.0 if e == 0 else float(e), lambda s, i, e: wobble[e]))
    (over,), (later,) = rows(found, "epochs", layer="gap"), rows(found, "epochs>0", layer="gap")
    assert over["r"] > 0.95
    assert abs(later["r"]) < 0.6


def test_a_choice_among_the_epochs_a_subset_and_another_data_set_are_no_points_of_their_own() -> None:
    own = run(0, lambda s, i, e: float(e), lambda s, i, e: (i + e) ** 2.0)
    plain = own.layers.assign(dataset="")
    strange = plain.assign(x=99.0, y=-99.0)
    best = strange[strange["epoch"] == 2].assign(checkpoint="best")
    for other in (best, strange.assign(subset=1), strange.assign(dataset="svhn")):
        mixed = replace(own, layers=pd.concat([plain, other], ignore_index=True))
        for over in ("layers", "epochs", "epochs>0"):
            assert repr(rows(groups(mixed), over)) == repr(rows(groups(own), over))


def test_a_seed_that_lacks_one_of_the_values_lacks_the_pair() -> None:
    missing = {(0, "x"), (4, "y")}
    found = groups(
        *(
            run(
                s,
                lambda s, i, e: np.nan if (s, "x") in missing else s**2.0,
                lambda s, i, e: np.nan if (s, "y") in missing else (s - 1.0) ** 3,
            )
            for s in range(5)
        )
    )
    (row,) = rows(found, "runs", layer="gap")
    assert row["n"] == 3
    assert row["r"] == pytest.approx(np.corrcoef([1, 4, 9], [0, 1, 8])[0, 1], abs=1e-12)


def test_figures_of_the_training_stand_at_their_epoch() -> None:
    found = groups(*(run(s, lambda s, i, e: float(s**2), lambda s, i, e: 0.0) for s in range(4)))
    every = list(correlation_rows(found, [("x", "test_accuracy")]))
    (row,) = (row for row in every if row["over"] == "runs" and row["layer"] == "gap")
    assert row["r"] == pytest.approx(np.corrcoef(np.arange(4) ** 2, np.arange(4))[0, 1], abs=1e-12)
    assert not [row for row in every if row["over"] == "layers"], "one figure for all layers is no series"


def test_every_two_metrics_are_correlated_by_default_and_points_can_be_listed() -> None:
    runs = [run(s, lambda s, i, e: float(s), lambda s, i, e: float(i)) for s in range(3)]
    assert default_pairs(runs) == [("x", "y"), ("x", "test_accuracy"), ("y", "test_accuracy")]
    points = list(point_rows(groups(*runs), [("x", "y")]))
    assert len(points) == 3 * 4 * len(LAYERS)
    assert {(point["x_value"], point["seed"]) for point in points} == {(0.0, 0), (1.0, 1), (2.0, 2)}
    assert {(point["y_value"], point["index"]) for point in points} == {(float(at), at) for at in range(len(LAYERS))}


def test_an_unknown_column_is_named_with_near_ones() -> None:
    runs = [run(0, lambda s, i, e: 0.0, lambda s, i, e: 0.0)]
    check_columns([("x", "y_chance"), ("n_features", "test_accuracy")], runs)
    with pytest.raises(UserError, match="no run has a column 'test_acuracy'; did you mean 'test_accuracy'"):
        check_columns([("x", "test_acuracy")], runs)
    with pytest.raises(UserError, match="no run has a column 'layer'"):
        check_columns([("x", "layer")], runs)
