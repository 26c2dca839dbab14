"""What makes runs repetitions of each other, and what a group is called."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from rra_cli.comparison.groups import ONLY, flatten, group_runs, natural
from rra_cli.comparison.runs import FinishedRun

BASE: dict[str, Any] = {
    "experiment": "quickstart",
    "seed": 0,
    "dataset": {"name": "digits", "root": None, "n_samples": 100},
    "model": {"name": "mlp"},
    "method": {"name": "supervised", "epochs": 3, "milestones": [0]},
    "augment": {"name": "none"},
    "neighbors": {"name": "exact", "k": None, "shards": 1},
    "metrics": {"per_sample": False, "nncs": {"name": "nncs", "class_balanced": False}},
    "runtime": {"threads": 1},
    "store": {"root": None},
}


def run(name: str, choices: dict[str, str] | None = None, **changes: Any) -> FinishedRun:
    """A run whose configuration differs from the base by dotted keys (`__` for the dot)."""
    config = {key: dict(value) if isinstance(value, dict) else value for key, value in BASE.items()}
    for key, value in changes.items():
        section, _, field = key.partition("__")
        if field:
            config[section] = {**config[section], field: value}
        else:
            config[section] = value
    none: Any = None
    return FinishedRun(name, Path(name), config, config.get("seed"), none, none, choices=choices or {})


def labels(*runs: FinishedRun) -> list[str]:
    return [group.label for group in group_runs(runs).groups]


def test_runs_that_differ_by_the_seed_are_one_group_of_ascending_seeds() -> None:
    (group,) = group_runs([run("b", seed=10), run("a", seed=9), run("c", seed=0)]).groups
    assert (group.label, group.columns, group.seeds) == (ONLY, {}, (0, 9, 10))


@pytest.mark.parametrize(
    "change",
    [
        {"runtime__threads": 4},
        {"store__root": "/elsewhere"},
        {"dataset__root": "/data"},
        {"neighbors__shards": 4},
        {"method__milestones": [0, 10]},
        {"metrics": {"per_sample": True, "nncs": {"name": "nncs", "class_balanced": False}, "nnls": {"name": "nnls"}}},
        {"metrics__intervals": "blocks", "metrics__interval_level": 0.9},
        {"metrics__null_test": "permutation", "metrics__permutations": 99},
        {"pictures": {"layers": ["logits"]}},
        {"samples": {"sizes": [50, 100]}},
        {"experiment": "other"},
    ],
)
def test_where_how_and_what_is_measured_beside_make_no_other_group(change: dict[str, Any]) -> None:
    assert labels(run("a"), run("b", seed=1, **change)) == [ONLY]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"dataset__n_samples": 200}, ["dataset.n_samples=100", "dataset.n_samples=200"]),
        ({"neighbors__k": 5}, ["neighbors.k=5", "neighbors.k=null"]),
        ({"model": {"name": "lenet5"}}, ["model=lenet5", "model=mlp"]),
        ({"method__epochs": 10}, ["method.epochs=3", "method.epochs=10"]),
        (
            {"metrics": {"per_sample": False, "nncs": {"name": "nncs", "class_balanced": True}}},
            ["metrics.nncs.class_balanced=false", "metrics.nncs.class_balanced=true"],
        ),
    ],
)
def test_what_changes_a_value_separates(change: dict[str, Any], found: list[str]) -> None:
    assert sorted(labels(run("a"), run("b", seed=1, **change))) == sorted(found)


def test_a_group_is_called_by_the_option_that_was_chosen_where_that_tells_all() -> None:
    views = {"augment": {"name": "views", "flip": 0.5, "blur": 1.0}}
    chosen = labels(run("a", {"augment": "none"}), run("b", {"augment": "rra"}, **views))
    assert chosen == ["augment=none", "augment=rra"]
    other = {"augment": {"name": "views", "flip": 0.25, "blur": 1.0}}
    mixed = [run("a", {"augment": "rra"}, **views), run("b", {"augment": "rra"}, **other)]
    assert labels(*mixed) == ["augment.flip=0.25", "augment.flip=0.5"], "one option, two settings"


def test_as_few_columns_as_tell_groups_apart_and_all_differences_beside_them() -> None:
    linked = run("b", model={"name": "lenet5"}, method__epochs=5)
    grouping = group_runs([run("a"), linked])
    assert [group.label for group in grouping.groups] == ["model=lenet5", "model=mlp"]
    assert grouping.differences["model=lenet5"] == {"model.name": "lenet5", "method.epochs": "5"}


def test_groups_of_several_experiments_that_numbers_tell_apart_say_which() -> None:
    """Numbers of two sweeps tell their groups apart, but not what was trained on what."""
    altered = [run(f"a{level}", alter={"level": level}) for level in (0, 1)]
    other = run("b", experiment="volume", dataset={"name": "sinusoid"}, method__epochs=2400)
    assert labels(*altered, other) == [
        "experiment=quickstart, alter.level=0",
        "experiment=quickstart, alter.level=1",
        "experiment=volume, alter.level=–",
    ]
    same = run("c", dataset={"name": "sinusoid"}, method__epochs=2400)
    assert not any("experiment" in label for label in labels(*altered, same)), "the control: one experiment"
    told = [run("d"), run("e", experiment="other", model={"name": "lenet5"})]
    assert labels(*told) == ["model=lenet5", "model=mlp"], "an option tells them apart"


def test_the_same_experiment_done_twice_counts_once() -> None:
    grouping = group_runs([run("b", seed=1), run("a", seed=1), run("c", seed=2)])
    (group,) = grouping.groups
    assert [each.name for each in group.runs] == ["a", "c"]
    (left_out,) = grouping.left_out
    assert (left_out.name, left_out.reason) == ("b", "the same configuration and seed 1 as a, which is counted")


def test_the_order_of_runs_changes_nothing() -> None:
    runs = [run(f"{epochs}-{seed}", seed=seed, method__epochs=epochs) for epochs in (9, 10, 100) for seed in range(3)]
    first = group_runs(runs)
    assert [group.label for group in first.groups] == ["method.epochs=9", "method.epochs=10", "method.epochs=100"]
    random.Random(0).shuffle(runs)
    assert group_runs(runs) == first


def test_numbers_in_values_are_sorted_by_size() -> None:
    assert sorted(["epoch 10", "epoch 9", "a"], key=natural) == ["a", "epoch 9", "epoch 10"]
    assert sorted(["epoch 10", "epoch 9"]) == ["epoch 10", "epoch 9"], "the control"


def test_nested_settings_become_dotted_keys() -> None:
    nested = {"a": {"b": {"c": 1}, "empty": {}}, "list": [1, None], "text": "x"}
    assert flatten(nested) == {"a.b.c": "1", "a.empty": "{}", "list": "[1, null]", "text": "x"}
