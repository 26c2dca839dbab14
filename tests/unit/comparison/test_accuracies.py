"""Accuracies over seeds: which figures of the history they are, and groups held against the reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rra_cli.comparison.accuracies import (
    NO_CLASSIFIER,
    NOT_LOGGED,
    accuracies_of,
    accuracy_differences,
    accuracy_rows,
    reference_of,
)
from rra_cli.comparison.groups import Group
from rra_cli.comparison.runs import FinishedRun
from rra_cli.comparison.statistics import NO_SCATTER

T_2 = 4.302653  # the 95 % quantile of Student's t with two degrees of freedom
Row = dict[str, Any]


def run(seed: int | None, *lines: Row) -> FinishedRun:
    none: Any = None
    return FinishedRun(f"run-{seed}", Path(), {}, seed, none, none, pd.DataFrame(lines) if lines else None)


def line(epoch: int, test: float | None, clean: float | None = 0.9, **more: Any) -> Row:
    return {
        **{"epoch": epoch, "train_loss": 1.0, "train_accuracy": 0.7, "train_clean_accuracy": clean},
        **{"test_accuracy": test, "knn_accuracy": 0.5, **more},
    }


def group(name: str, tests: dict[int | None, float], clean: float = 0.9) -> Group:
    runs = [run(seed, line(1, 0.1), line(2, test, clean)) for seed, test in tests.items()]
    return Group(f"augment={name}", {"augment": name}, tuple(runs))


def differences(*groups: Group) -> list[Row]:
    return list(accuracy_differences(groups, [accuracies_of(each) for each in groups]))


def trained(found: Group, *keys: str) -> Group:
    """The group's runs, as of these trainings."""
    runs = (replace(each, trainings=(key,)) for each, key in zip(found.runs, keys, strict=True))
    return replace(found, runs=tuple(runs))


def test_the_last_epoch_counts_and_the_gap_is_that_of_samples_without_augmentation() -> None:
    both = group("none", {0: 0.6, 1: 0.7, 2: 0.8})
    rows = {row["metric"]: row for row in accuracy_rows(both, accuracies_of(both))}
    assert list(rows) == ["train_accuracy", "train_clean_accuracy", "test_accuracy", "gap", "knn_accuracy"]
    test, gap = rows["test_accuracy"], rows["gap"]
    assert (test["mean"], test["sd"], test["n"], test["epoch"]) == (pytest.approx(0.7), pytest.approx(0.1), 3, 2)
    assert test["high"] - 0.7 == pytest.approx(T_2 * 0.1 / 3**0.5, rel=1e-6)
    assert gap["mean"] == pytest.approx(0.9 - 0.7), "not 0.7 - 0.7, that of the augmented samples"
    assert (test["augment"], test["reason"]) == ("none", "")
    other = Group("x", {}, (run(0, line(2, 0.6)), run(1, line(3, 0.6))))
    assert next(accuracy_rows(other, accuracies_of(other)))["epoch"] is None


def test_what_a_method_does_not_have_is_left_out_with_the_reason() -> None:
    lines = [{key: value for key, value in line(2, None, None).items() if key != "train_accuracy"}] * 2
    blind = Group("simclr", {}, tuple(run(seed, each) for seed, each in enumerate(lines)))
    rows = {row["metric"]: row for row in accuracy_rows(blind, accuracies_of(blind))}
    assert {metric for metric, row in rows.items() if row["n"] == 0} == set(rows) - {"knn_accuracy"}
    assert {row["reason"] for row in rows.values() if row["n"] == 0} == {NO_CLASSIFIER}
    assert (rows["knn_accuracy"]["mean"], rows["knn_accuracy"]["reason"]) == (0.5, "")
    old = Group("old", {}, (run(0, line(1, 0.6), line(2, 0.6, None)),))
    rows = {row["metric"]: row for row in accuracy_rows(old, accuracies_of(old))}
    assert [rows[metric]["reason"] for metric in ("train_clean_accuracy", "gap", "test_accuracy")] == [
        *(NOT_LOGGED, NOT_LOGGED),
        "",
    ]
    files = Group("files", {}, (run(None),))
    assert list(accuracy_rows(files, accuracies_of(files))) == [], "nothing was trained"


def test_groups_are_held_against_the_reference_seed_by_seed() -> None:
    """t = .02 / (.01 / sqrt 3) = 2 sqrt 3; with two degrees of freedom p = 1 - t / sqrt(t² + 2)."""
    flip, none = group("flip", {0: 0.61, 1: 0.72, 2: 0.83}, clean=0.8), group("none", {0: 0.6, 1: 0.7, 2: 0.8})
    assert reference_of([flip, none]) is none
    rows = {row["metric"]: row for row in differences(flip, none)}
    test = rows["test_accuracy"]
    assert (test["group_a"], test["group_b"], test["paired"], test["epoch"]) == (
        *("augment=flip", "augment=none"),
        *("by seed", 2),
    )
    assert (test["difference"], test["n_a"], test["n_b"]) == (pytest.approx(0.02), 3, 3)
    assert test["high"] - test["difference"] == pytest.approx(T_2 * 0.01 / 3**0.5, rel=1e-6)
    assert test["p"] == pytest.approx(1 - 12**0.5 / 14**0.5, rel=1e-6)
    assert rows["gap"]["difference"] == pytest.approx(-0.1 - 0.02)
    (unpaired,) = (
        row for row in differences(group("flip", {3: 0.61, 4: 0.72, 5: 0.83}), none) if row["metric"] == "test_accuracy"
    )
    assert (unpaired["paired"], unpaired["difference"]) == ("no", pytest.approx(0.02))
    assert unpaired["p"] > 0.5, "the control: between other seeds the spread of seeds hides it"


def test_the_reference_comes_first_and_others_follow_once() -> None:
    groups = [group(name, {0: 0.5, 1: 0.6}) for name in ("blur", "none", "rra")]
    pairs = list(dict.fromkeys((row["group_a"][8:], row["group_b"][8:]) for row in differences(*groups)))
    assert pairs == [("blur", "none"), ("rra", "none"), ("blur", "rra")]
    rates = [Group(f"lr={rate}", {"lr": rate}, ()) for rate in ("0.1", "1")]
    assert reference_of(rates) is rates[0], "the first where no setting is none"
    two = [Group("", {"augment": a, "optimizer": b}, ()) for a, b in (("rra", "none"), ("none", "none"))]
    assert reference_of(two) is two[1]


def test_networks_have_one_accuracy_and_are_not_held_against_themselves() -> None:
    one, other = group("none", {0: 0.5, 1: 0.6}), group("rra", {0: 0.5, 1: 0.6})
    assert differences(trained(one, "k0", "k1"), trained(other, "k0", "k1")) == [], "seed by seed"
    assert differences(trained(one, "k0", "k1"), trained(other, "k1", "k2")) == [], "one seed in common"
    assert len(differences(trained(one, "k0", "k1"), trained(other, "k2", "k3"))) == 5, "the control"
    assert len(differences(one, other)) == 5, "nobody knows"
    assert differences(one, Group("files", {}, (run(None),))) == []


def test_accuracies_that_differ_by_one_amount_in_every_seed_have_no_p() -> None:
    tests = {0: 0.596, 1: 0.3, 2: 0.06}
    other = group("flip", {seed: value + 0.019 for seed, value in tests.items()})
    rows = {row["metric"]: row for row in differences(group("none", tests), other)}
    for metric, value in (("test_accuracy", 0.019), ("gap", -0.019), ("knn_accuracy", 0.0)):
        row = rows[metric]
        assert row["difference"] == pytest.approx(value, abs=1e-15)
        assert (row["reason"], row["p"] == row["p"], row["low"] == row["low"]) == (NO_SCATTER, False, False)
    gaps = [  # of 1 and 2 in 10,000, whose rounding is that of the accuracies
        Group(name, {"augment": name}, tuple(run(seed, line(2, test, test + gap)) for seed, test in tests.items()))
        for name, gap in (("none", 1e-4), ("flip", 2e-4))
    ]
    rows = {row["metric"]: row for row in differences(*gaps)}
    assert (rows["gap"]["difference"], rows["gap"]["reason"]) == (pytest.approx(1e-4), NO_SCATTER)
    rows = {row["metric"]: row for row in differences(group("none", tests), group("flip", {0: 0.7, 1: 0.4, 2: 0.2}))}
    row = rows["gap"]
    assert (row["reason"], row["low"] < row["high"]) == ("", True), "the control"
