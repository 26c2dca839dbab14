"""What page, captions and screen say of pairs of models of one seed, and of differences without scatter."""

from __future__ import annotations

from typing import Any

import pytest

from rra_cli.comparison.statistics import NO_SCATTER
from rra_cli.report.compare.accuracy_text import accuracy_remarks, accuracy_table
from rra_cli.report.compare.page import comparison_html
from rra_cli.report.compare.plots import comparison_plots
from rra_cli.report.compare.tables import TABLES, frame_of
from rra_cli.report.compare.view import View

Row = dict[str, Any]
NAN = float("nan")
PLACE = {"checkpoint": "last", "epoch": 3, "split": "test", "pool": "none", "scale": 1, "n_samples": 100, "k": 5}
BETWEEN = {**PLACE, "kind": "between", "group_a": "a", "group_b": "b"}


def view(**tables: list[Row]) -> View:
    frames = {name: frame_of(tables.get(name, []), name) for name in TABLES}
    return View("Comparison", ("a", "b"), {"a": "last", "b": "last"}, frames, reference="b")


def pairs(mean: float, n_pairs: int, same_seed: float, same_seed_n: int) -> View:
    figures = {"mean": mean, "n_pairs": n_pairs, "same_seed": same_seed, "same_seed_n": same_seed_n}
    diagonal = {**BETWEEN, "layer": "out", "index": 0, "depth": 1.0, **figures}
    cell = {**BETWEEN, "layer_a": "out", "index_a": 0, "layer_b": "out", "index_b": 0, **figures}
    return view(nnls_diagonal=[diagonal], nnls=[cell])


def caption(shown: View) -> str:
    (found,) = (plot.caption for plot in comparison_plots(shown) if plot.name.startswith("nnls_between"))
    return found


def test_pairs_of_one_seed_stand_beside_the_mean_that_leaves_them_out() -> None:
    two = pairs(0.75, 2, 0.875, 2)
    page = comparison_html(two, [], [])
    assert "0.75 (0.875)" in page
    assert "(of one seed): the mean of pairs that the other leaves out" in page
    assert "2; without the pairs of one seed, 2, which have a column same_seed" in caption(two)
    others = pairs(0.75, 4, NAN, 0)
    assert "of one seed)" not in comparison_html(others, [], []), "the control: there are none"
    assert "of one seed" not in caption(others)


def test_one_run_a_group_is_told_to_be_of_one_seed() -> None:
    one = pairs(0.98, 1, 0.98, 1)
    assert caption(one) == "One pair of runs, both of one seed. Hatched: no value."
    assert "0.98 (" not in comparison_html(one, [], [])
    assert "0.75 (0.98)" in comparison_html(pairs(0.75, 1, 0.98, 1), [], []), "the control: the other group has two"
    assert caption(pairs(0.75, 1, 0.98, 1)) == "One pair of runs. Hatched: no value."
    assert caption(pairs(0.75, 1, NAN, 0)) == "One pair of runs. Hatched: no value.", "the control"


def test_the_page_tells_how_such_numbers_are_made() -> None:
    page = comparison_html(view(), [], [])
    for told in ("needs three seeds of each group", "same_seed", "are all equal have no scatter"):
        assert told in page


@pytest.mark.parametrize("reason", [NO_SCATTER, ""])
def test_an_accuracy_that_differs_by_one_amount_in_all_seeds_says_why_it_has_no_p(reason: str) -> None:
    accuracies = [
        {"group": group, "metric": "test_accuracy", "epoch": 3, "mean": mean, "sd": 0.01, "n": 3, "reason": ""}
        for group, mean in (("a", 0.619), ("b", 0.6))
    ]
    ends = {"low": NAN, "high": NAN, "p": NAN} if reason else {"low": 0.01, "high": 0.028, "p": 0.01}
    test = {"group_a": "a", "group_b": "b", "metric": "test_accuracy", "difference": 0.019, **ends, "reason": reason}
    made = view(accuracies=accuracies, accuracy_differences=[test])
    told = [remark for remark in accuracy_remarks(made) if "No interval" in remark]
    if not reason:
        assert told == [], "the control"
        return
    assert told == ["No interval and no p of a minus b: the differences are all equal: no scatter."]
    assert accuracy_table(made)[1][0][-2:] == ["+0.019", "–"]
    assert told[0] in comparison_html(made, [], [])
