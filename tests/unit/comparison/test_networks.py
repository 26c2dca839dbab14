"""One network on differently altered data is told from different networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rra_cli.cli.compare_table import group_table
from rra_cli.comparison.correlation import default_pairs
from rra_cli.comparison.groups import Group
from rra_cli.comparison.networks import ALTERED, MEASURED, networks_by_seed, same_networks
from rra_cli.comparison.runs import FinishedRun
from rra_cli.report.compare.tables import TABLES, frame_of
from rra_cli.report.compare.view import View

NONE: Any = None


def group(label: str, *trainings: str, level: float = 0.0, metric: str = "nncs") -> Group:
    config = {"alter": {"name": "noise_mix", "level": level}, "metrics": {metric: {}}}
    runs = [FinishedRun(f"{label}-{at}", Path(), config, at, NONE, NONE) for at in range(len(trainings))]
    return Group(label, {}, tuple(replace(run, trainings=(key,)) for run, key in zip(runs, trainings, strict=True)))


def test_equal_trainings_are_one_network_and_others_are_not() -> None:
    one, other = group("a", "k1"), group("b", "k1", level=1.0)
    assert same_networks([one, other]) == {("a", "b"): ALTERED, ("b", "a"): ALTERED}
    assert set(same_networks([one, group("b", "k1", metric="id")]).values()) == {MEASURED}
    assert same_networks([one, group("b", "k2", level=1.0)]) == {}
    assert same_networks([group("a", "k1", "k2"), group("b", "k1", "k2", level=1.0)]) == {}, "seeds are other networks"
    nothing = replace(one.runs[0], trainings=())
    assert same_networks([Group("a", {}, (nothing,)), Group("b", {}, (nothing,))]) == {}, "nobody knows"


def test_networks_of_several_seeds_are_told_to_be_the_same_ones() -> None:
    two, altered = group("a", "k1", "k2"), group("b", "k1", "k2", level=1.0)
    found = networks_by_seed([two, altered])
    assert set(found) == {("a", "b"), ("b", "a")}
    assert set(found.values()) == {"the same networks on differently altered data, each seed with the others"}
    assert "measured in other ways" in networks_by_seed([two, group("b", "k1", "k2", metric="id")])["a", "b"]
    assert networks_by_seed([two, group("b", "k3", "k4", level=1.0)]) == {}, "others"
    assert networks_by_seed([group("a", "k1"), group("b", "k1", level=1.0)]) == {}, "one network: same_networks"


def test_the_accuracy_of_unaltered_images_is_no_partner_of_altered_ones() -> None:
    import pandas as pd

    layers = pd.DataFrame({"nncs": [0.5], "id_twonn": [3.0]})
    training = pd.DataFrame({"epoch": [1], "test_accuracy": [0.9]})
    run = replace(group("a", "k1", level=1.0).runs[0], layers=layers, training=training)
    assert default_pairs([run]) == [("nncs", "id_twonn")]
    plain = replace(run, config={"alter": {"name": "none"}})
    assert ("nncs", "test_accuracy") in default_pairs([plain])


@pytest.mark.parametrize("altered", [False, True])
def test_the_terminal_says_what_the_accuracy_is_of_and_that_nothing_was_repeated(altered: bool) -> None:
    common = {"transfer": "", "checkpoint": "last", "epoch": 3, "split": "test", "pool": "none", "scale": 1}
    layers = [
        {**common, "group": label, "metric": "nncs", "layer": "logits", "index": 0, "depth": 0, "subset": 0}
        | {"n_samples": 100, "k": 5, "mean": 0.5, "n": 1 if altered else 3, "reason": ""}
        for label in "ab"
    ]
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES} | {"layers": layers}
    rows["training"] = [{"group": label, "metric": "test_accuracy", "epoch": 3, "mean": 0.98, "n": 1} for label in "ab"]
    rows["runs"] = [{"run": label, "group": label, "seed": 0, "used": "yes"} for label in "ab"]
    frames = {name: frame_of(found, name) for name, found in rows.items()}
    same = {("a", "b"): ALTERED, ("b", "a"): ALTERED} if altered else {}
    view = View("Comparison", ("a", "b"), dict.fromkeys("ab", "last"), frames, altered=altered, same=same)
    table = group_table(view)
    headers = [str(column.header) for column in table.columns]
    assert ("accuracy\n(unaltered test images)" in headers) == altered
    assert ("accuracy" in headers) != altered
    assert (ALTERED in str(table.title)) == altered
    assert ("over the seeds" in str(table.title)) != altered
    assert (view.band_text == "One run a group: there are no bands.") == altered
