"""Layer similarity within each model, averaged over the seeds."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rra_cli.comparison.groups import Group
from rra_cli.comparison.intra import intra_differences, read_intra, rows_of
from rra_cli.comparison.runs import FinishedRun
from rra_cli.report.tables.schema import TABLES

LAYERS = ("input", "conv", "logits")


def made_run(root: Path, seed: int, values: dict[tuple[str, str], float], **more: Any) -> FinishedRun:
    """A run whose nnls.csv holds these values, and one of other places and subsets that must not be taken."""
    rows = []
    for (a, b), value in values.items():
        sides = {
            f"{name}_{side}": told
            for side in "ab"
            for name, told in {"model": "m", "checkpoint": "last", "split": "test", "pool": "none", "scale": 1}.items()
        }
        row = {**sides, "layer_a": a, "layer_b": b, "subset": 0, "n_samples": 50, "k": 5, "nnls": value}
        row |= {"chance": 0.05, "std_error": 0.01, "reason": "", "engine_a": "exact", "engine_b": "exact"}
        row |= {"recall_a": 1.0, "recall_b": 1.0, **more}
        # Before the row that counts, so that none of them is passed over by its place in the file.
        rows += [{**row, "pool_b": "avg", "nnls": 9.0}, {**row, "subset": 1, "nnls": 9.0}]
        rows += [{**row, "checkpoint_a": "epoch_0000", "nnls": 9.0}]
        rows += [{**row, "engine_a": "pynndescent", "engine_b": "pynndescent", "nnls": 9.0}, row]
    folder = root / f"seed={seed}" / "tables"
    folder.mkdir(parents=True)
    pd.DataFrame(rows).reindex(columns=TABLES["nnls"].columns).to_csv(folder / "nnls.csv", index=False)
    layers = pd.DataFrame({"layer": LAYERS, "index": range(3)})
    none: Any = None
    return FinishedRun(folder.parent.name, folder.parent, {}, seed, layers, none)


def tabulated(group: Group, checkpoints: Collection[str] | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows and faults."""
    intra = read_intra(group, checkpoints)
    return list(rows_of(intra)), intra.faults


def test_every_pair_of_layers_has_mean_deviation_and_interval_over_the_seeds(tmp_path: Path) -> None:
    """Student's t with 2 degrees of freedom has the 95 % quantile 4.302653."""
    values = (0.2, 0.3, 0.7)
    runs = tuple(made_run(tmp_path, seed, {("conv", "logits"): v}) for seed, v in enumerate(values))
    (row,), faults = tabulated(Group("augment=none", {}, runs), ["last"])
    assert not faults
    assert (row["group"], row["layer_a"], row["index_a"], row["layer_b"], row["index_b"], row["n"]) == (
        *("augment=none", "conv", 1, "logits", 2),
        3,
    )
    assert row["mean"] == pytest.approx(0.4)
    assert row["sd"] == pytest.approx(np.std(values, ddof=1))
    assert row["chance"] == 0.05
    assert row["high"] - row["mean"] == pytest.approx(4.302653 * np.std(values, ddof=1) / 3**0.5, rel=1e-6)
    assert (row["checkpoint"], row["split"], row["pool"], row["scale"], row["n_samples"], row["k"]) == (
        *("last", "test", "none", 1),
        *(50, 5),
    )


def test_checkpoints_are_chosen_and_one_seed_has_no_interval(tmp_path: Path) -> None:
    runs = (made_run(tmp_path, 0, {("input", "conv"): 0.5}),)
    assert tabulated(Group("a", {}, runs), ["best"])[0] == []
    (row,), _ = tabulated(Group("a", {}, runs), None)
    assert (row["mean"], row["n"]) == (0.5, 1)
    assert row["sd"] != row["sd"]


def test_a_damaged_table_is_told_and_the_others_count(tmp_path: Path) -> None:
    runs = tuple(made_run(tmp_path, seed, {("input", "conv"): 0.1 * seed}) for seed in (1, 2))
    (runs[0].folder / "tables" / "nnls.csv").write_text("layer_a,nnls\nconv\n")
    (row,), (fault,) = tabulated(Group("a", {}, runs), ["last"])
    assert "seed=1" in fault
    assert (row["mean"], row["n"]) == (0.2, 1)


def test_a_run_that_did_not_measure_it_has_no_say(tmp_path: Path) -> None:
    runs = tuple(made_run(tmp_path, seed, {("input", "conv"): 0.1 * seed}) for seed in (1, 2))
    (runs[1].folder / "tables" / "nnls.csv").unlink()
    (row,), faults = tabulated(Group("a", {}, runs), ["last"])
    assert (row["mean"], row["n"], faults) == (0.1, 1, [])


def test_groups_are_subtracted_for_every_two_layers_once(tmp_path: Path) -> None:
    """Differences of .1, .2 and .3: t = 2 sqrt 3, two degrees of freedom."""
    pairs = [("conv", "logits"), ("logits", "conv"), ("conv", "conv")]
    one, other = (
        Group(name, {}, tuple(made_run(tmp_path / name, seed, dict.fromkeys(pairs, v)) for seed, v in enumerate(own)))
        for name, own in (("x", (0.6, 0.5, 0.9)), ("y", (0.5, 0.3, 0.6)))
    )
    (row,) = intra_differences([read_intra(group, ["last"]) for group in (one, other)])
    assert (row["group_a"], row["group_b"], row["layer_a"], row["layer_b"], row["paired"]) == (
        *("x", "y"),
        *("conv", "logits", "by seed"),
    )
    assert (row["difference"], row["n_a"], row["n_b"]) == (pytest.approx(0.2), 3, 3)
    assert row["p"] == pytest.approx(1 - 12**0.5 / 14**0.5, rel=1e-6)
    larger = Group("z", {}, (made_run(tmp_path / "z", 0, dict.fromkeys(pairs, 0.5), n_samples=60),))
    assert list(intra_differences([read_intra(group, ["last"]) for group in (one, larger)])) == []
