"""Accuracies of the trained networks, over seeds, and differences between groups seed by seed.

They are those of `training.jsonl` after the last epoch, under its names, in [0, 1], and of samples as they are (but for
`train_accuracy`, of the augmented ones): what measured samples were altered by does not touch them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from rra_cli.comparison.curves import columns_of
from rra_cli.comparison.groups import Group
from rra_cli.comparison.networks import share_networks
from rra_cli.comparison.runs import FinishedRun
from rra_cli.comparison.statistics import LEVEL, difference, summarise
from rra_cli.report.compare.accuracy_text import CLEAN, GAP, KNN, TEST, TRAIN

Row = dict[str, Any]
METRICS = (TRAIN, CLEAN, TEST, GAP, KNN)
NO_CLASSIFIER = "its method does not classify"
NOT_LOGGED = "not logged for the last epoch"
_UNTOUCHED = "none"


@dataclass
class Accuracies:
    """One accuracy of all runs of a group that were trained. values: by seed; reasons: why runs have none."""

    values: dict[int | None, float] = field(default_factory=dict)
    epochs: set[int] = field(default_factory=set)
    reasons: dict[str, None] = field(default_factory=dict)

    @property
    def epoch(self) -> int | None:
        """The last one; None where it is not the same in all runs."""
        return next(iter(self.epochs)) if len(self.epochs) == 1 else None


def accuracies_of(group: Group) -> dict[str, Accuracies]:
    """By metric, of `METRICS`; empty where nothing was trained (a user's files)."""
    found: dict[str, Accuracies] = {}
    for run in group.runs:
        if run.training is None:
            continue
        epoch, known = _last(run)
        for metric in METRICS:
            cell = found.setdefault(metric, Accuracies())
            cell.epochs.add(epoch)
            if metric in known:
                cell.values[run.seed] = known[metric]
            else:
                classifies = metric == KNN or TRAIN in run.training
                cell.reasons[NOT_LOGGED if classifies else NO_CLASSIFIER] = None
    return found


def _last(run: FinishedRun) -> tuple[int, dict[str, float]]:
    """The last epoch and its accuracies; the gap is that of training and test samples, neither augmented."""
    assert run.training is not None, "it was trained"
    line = run.training.to_dict("records")[-1]
    found = {}
    for metric in METRICS:
        value = line.get(metric)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
            found[metric] = float(value)
    if CLEAN in found and TEST in found:
        found[GAP] = found[CLEAN] - found[TEST]
    return int(line["epoch"]), found


def accuracy_rows(group: Group, found: Mapping[str, Accuracies], level: float = LEVEL) -> Iterator[Row]:
    """One row a metric: mean, sd and interval over the seeds; without a value the reason."""
    for metric, cell in found.items():
        over = summarise(cell.values.values(), level)
        yield {
            **{"group": group.label, **columns_of(group), "metric": metric, "epoch": cell.epoch},
            **{"mean": over.mean, "sd": over.sd, "n": over.n, "low": over.low, "high": over.high},
            "reason": "; ".join(sorted(cell.reasons)),
        }


def reference_of(groups: Sequence[Group]) -> Group:
    """The group that others are held against: the one with most settings `none` (`augment=none`), else the first."""
    return max(groups, key=lambda group: sum(value == _UNTOUCHED for value in group.columns.values()))


def accuracy_differences(
    groups: Sequence[Group], found: Sequence[Mapping[str, Accuracies]], level: float = LEVEL
) -> Iterator[Row]:
    """Every group minus the reference, then every earlier one of the others minus every later one.

    Groups that share their networks (as on differently altered data) have no rows.
    """
    by_group = dict(zip((group.label for group in groups), found, strict=True))
    reference = reference_of(groups)
    others = [group for group in groups if group is not reference]
    for one, other in [*((group, reference) for group in others), *combinations(others, 2)]:
        if share_networks(one, other):
            continue
        for metric in METRICS:
            cells = [by_group[group.label].get(metric, Accuracies()) for group in (one, other)]
            if not all(cell.values for cell in cells):
                continue
            test = difference(cells[0].values, cells[1].values, level, scale=1.0)  # the gap is one of accuracies
            yield {
                **{"group_a": one.label, "group_b": other.label, "metric": metric},
                "epoch": cells[0].epoch if cells[0].epoch == cells[1].epoch else None,
                **{"difference": test.value, "low": test.low, "high": test.high, "p": test.p},
                **{"n_a": len(cells[0].values), "n_b": len(cells[1].values)},
                "paired": "by seed" if test.paired else "no",
                "reason": test.reason,
            }
