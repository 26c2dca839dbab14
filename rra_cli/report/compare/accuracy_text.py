"""What a comparison says of accuracies in a table for people, on the screen and on the page."""

from __future__ import annotations

from typing import Any

from rra_cli.report.compare.view import View
from rra_cli.report.run import unaltered_images
from rra_cli.report.style import number

TRAIN, CLEAN, TEST, GAP, KNN = "train_accuracy", "train_clean_accuracy", "test_accuracy", "gap", "knn_accuracy"
# What they are called where there is little room.
SHORT = {TRAIN: "train, augmented", CLEAN: "train", TEST: "test", GAP: "train - test", KNN: "k-NN, test"}

HELD = {TEST: "test accuracy", KNN: "k-NN accuracy"}  # against the reference
# The augmented one is in accuracies.csv alone: it is no partner of the others.
_TABLED = (CLEAN, TEST, GAP, KNN)


def accuracy_table(view: View) -> tuple[list[str], list[list[str]]]:
    """Header, and a row a group: accuracies as mean ± sd, and the difference to the reference with its interval and
    p-value; ([], []) where no group has any."""
    frame = view.frames["accuracies"]
    known = frame[frame["mean"].notna()]
    metrics = [metric for metric in _TABLED if (known["metric"] == metric).any()]
    if not metrics:
        return [], []
    means = {(row["group"], row["metric"]): row for row in known.to_dict("records")}
    tested = {row["group_a"]: row for row in against_reference(view).to_dict("records")}
    header = ["group", *(SHORT[metric] for metric in metrics)]
    if tested:
        header += [f"{HELD[told(view)]} minus\n{view.reference} [{view.level:.0%}]", "p"]
    rows = []
    for group in view.groups:
        cells = [_summary(means.get((group, metric))) for metric in metrics]
        if tested:
            cells += _test(tested.get(group))
        rows.append([group, *cells])
    return header, rows


def told(view: View) -> str:
    """The accuracy that groups are held against each other by: that which most groups have (of a network on the test
    split, or of the votes of its neighbours there, which every method has)."""
    frame = view.frames["accuracies"]
    groups = {metric: int((frame["mean"].notna() & (frame["metric"] == metric)).sum()) for metric in HELD}
    return max(HELD, key=lambda metric: groups[metric])


def against_reference(view: View) -> Any:
    """The rows of accuracy_differences.csv that hold that accuracy of a group against the reference's."""
    rows = view.frames["accuracy_differences"]
    return rows[(rows["group_b"] == view.reference) & (rows["metric"] == told(view))]


def accuracy_remarks(view: View) -> list[str]:
    """What must be known to read the table: of which samples, of how many networks, and why something is missing."""
    found = []
    if view.altered:
        found.append(f"Accuracies are of {unaltered_images([])}, whatever the measured samples were altered by.")
    frame = view.frames["accuracies"]
    known = set(frame.loc[frame["mean"].notna() & (frame["metric"] == told(view)), "group"])
    tests = against_reference(view)
    tested = {view.reference, *tests["group_a"]}
    if same := [group for group in view.groups if view.reference in known and group in known - tested]:
        found.append(f"No difference to {view.reference}, the same networks: {'; '.join(same)}.")
    for why in filter(None, map(str, tests["reason"].unique())):
        those = "; ".join(tests.loc[tests["reason"] == why, "group_a"])
        found.append(f"No interval and no p of {those} minus {view.reference}: {why}.")
    missing = frame[(frame["reason"] != "") & frame["metric"].isin(_TABLED)]
    for reason, rows in missing.groupby("reason", sort=False):
        names = "; ".join(SHORT[metric] for metric in dict.fromkeys(rows["metric"]))
        groups = list(dict.fromkeys(rows["group"]))
        whose = "" if len(groups) == len(view.groups) else f" of {'; '.join(groups)}"
        found.append(f"Without a value{whose} ({names}): {reason}.")
    return found


def _summary(row: Any) -> str:
    """`0.596 ± 0.016`: as many digits of both."""
    if row is None:
        return "–"
    return f"{row['mean']:.3f}" + ("" if row["sd"] != row["sd"] else f" ± {row['sd']:.3f}")


def _test(row: Any) -> list[str]:
    if row is None:
        return ["", ""]
    ends = "" if row["low"] != row["low"] else f" [{row['low']:+.3f}, {row['high']:+.3f}]"
    return [f"{row['difference']:+.3f}{ends}", number(row["p"], 2)]
