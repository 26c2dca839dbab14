"""Accuracies of a comparison for people: the table, what is told with it, and the dots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rra_cli.cli.compare_table import accuracies_table
from rra_cli.report.compare.accuracy import accuracy_plots
from rra_cli.report.compare.accuracy_text import accuracy_remarks, accuracy_table
from rra_cli.report.compare.page import comparison_html
from rra_cli.report.compare.tables import TABLES, frame_of
from rra_cli.report.compare.view import View
from rra_cli.report.style import styled

GROUPS = ("augment=flip", "augment=none")
MEANS = {"train_accuracy": 0.7, "train_clean_accuracy": 0.75, "test_accuracy": 0.5, "gap": 0.25, "knn_accuracy": 0.375}
Row = dict[str, Any]


def view(*without: str, **changes: Any) -> View:
    """Both groups have `MEANS` ± .125, flip .0625 more; metrics `without` have no value, for a reason."""
    rows: dict[str, list[Row]] = {name: [] for name in TABLES}
    rows["runs"] = [{"run": f"{group}{seed}", "group": group, "used": "yes"} for group in GROUPS for seed in range(3)]
    for at, group in enumerate(GROUPS):
        for metric, mean in MEANS.items():
            value = mean + 0.0625 * (at == 0)
            told: Row = {"mean": value, "sd": 0.125, "n": 3, "low": value - 0.25, "high": value + 0.75}
            told = {"n": 0, "reason": "it does not classify"} if metric in without else told
            rows["accuracies"].append({"group": group, "metric": metric, "epoch": 3, **told})
    test = {"group_a": GROUPS[0], "group_b": GROUPS[1], "epoch": 3, "difference": 0.0625, "low": -0.25, "high": 0.375}
    rows["accuracy_differences"] = [
        {**test, "metric": metric, "p": 0.25, "n_a": 3, "n_b": 3} for metric in MEANS if metric not in without
    ]
    rows["training"] = [{"group": GROUPS[0], "metric": "test_accuracy", "epoch": 3, "mean": 0.5, "n": 3}]
    frames = {name: frame_of(found, name) for name, found in rows.items()}
    made = View("Comparison", GROUPS, dict.fromkeys(GROUPS, "last"), frames, reference=GROUPS[1])
    return replace(made, **changes)


def test_a_row_a_group_with_its_difference_to_the_reference() -> None:
    header, rows = accuracy_table(view())
    assert header == ["group", "train", "test", "train - test", "k-NN, test", HEAD, "p"]
    higher = [f"{MEANS[m] + 0.0625:.3f} ± 0.125" for m in COLUMNS]
    assert rows[0] == [GROUPS[0], *higher, "+0.062 [-0.250, +0.375]", "0.25"]
    assert rows[1] == [GROUPS[1], *(f"{MEANS[m]:.3f} ± 0.125" for m in COLUMNS), "", ""]
    assert accuracies_table(view()) is not None
    assert accuracy_remarks(view()) == []


HEAD = "test accuracy minus\naugment=none [95%]"
COLUMNS = ("train_clean_accuracy", "test_accuracy", "gap", "knn_accuracy")


def test_without_a_classifier_votes_of_neighbours_are_compared_and_the_reason_is_told() -> None:
    blind = view("train_accuracy", "train_clean_accuracy", "test_accuracy", "gap")
    header, _ = accuracy_table(blind)
    assert header == ["group", "k-NN, test", HEAD.replace("test", "k-NN"), "p"]
    (remark,) = accuracy_remarks(blind)
    assert remark == "Without a value (train; test; train - test): it does not classify."
    mixed = view()
    mixed.frames["accuracies"].loc[2, "mean"] = float("nan")  # flip on the test split
    assert accuracy_table(mixed)[0][-2] == HEAD.replace("test", "k-NN"), "which all of them have"
    nothing = view(*MEANS)
    assert (accuracy_table(nothing), accuracies_table(nothing)) == (([], []), None)
    assert list(accuracy_plots(nothing)) == []
    page = comparison_html(nothing, [], [])
    assert "Without a value" in page
    assert "accuracies.csv" not in page


def test_it_is_told_that_accuracies_are_of_samples_as_they_are() -> None:
    same = view(altered=True)
    assert len(accuracy_remarks(same)) == 1
    alike = replace(same, frames={**same.frames, "accuracy_differences": same.frames["accuracy_differences"].iloc[:0]})
    assert accuracy_remarks(alike) == [
        "Accuracies are of unaltered images, whatever the measured samples were altered by.",
        "No difference to augment=none, the same networks: augment=flip.",
    ]
    for group in GROUPS:
        accuracies = alike.frames["accuracies"]
        lone = accuracies.assign(mean=accuracies["mean"].where(accuracies["group"] != group))
        assert len(accuracy_remarks(replace(alike, frames={**alike.frames, "accuracies": lone}))) == 1, "one is unknown"
    assert accuracy_table(alike)[0][-1] == "k-NN, test"
    with styled():
        figure = next(accuracy_plots(alike)).draw()
    assert figure is not None
    assert len(figure.axes) == 1
    (plot,) = accuracy_plots(view(altered=True))
    assert "unaltered images" in plot.caption
    assert "unaltered" in comparison_html(view(altered=True), [], [])
    assert "unaltered" not in comparison_html(view(), [], []) + next(accuracy_plots(view())).caption


@pytest.mark.parametrize("band", ["interval", "sd"])
def test_dots_stand_at_the_means_with_intervals_that_end_where_accuracies_do(band: Any) -> None:
    with styled():
        figure = next(accuracy_plots(view(band=band))).draw()
    assert figure is not None
    above, below = figure.axes
    dots = {str(line.get_gid()): line.get_xdata().tolist() for line in above.get_lines()}
    assert dots == {m: pytest.approx([MEANS[m] + 0.0625, MEANS[m]]) for m in COLUMNS if m != "gap"}
    ends = [segment[:, 0].tolist() for part in above.collections for segment in part.get_segments()]
    value = MEANS["test_accuracy"] + 0.0625
    assert ends[0] == pytest.approx([value - 0.125, value + 0.125] if band == "sd" else [value - 0.25, 1.0])
    assert [tick.get_text() for tick in above.get_yticklabels()] == list(GROUPS)
    (dot,) = (line for line in below.get_lines() if line.get_gid() == "difference")
    assert dot.get_xdata().tolist() == [0.0625]
    assert dot.get_color() == above.get_lines()[0].get_color(), "that of the accuracy it is a difference of"
    (line,) = (segment[:, 0].tolist() for part in below.collections for segment in part.get_segments())
    assert line == pytest.approx([-0.25, 0.375]), "an interval, whatever the band is"
    assert below.get_xlabel() == "test accuracy minus augment=none"
