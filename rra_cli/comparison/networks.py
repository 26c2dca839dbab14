"""Which groups of runs measured one and the same network: then only the data, or the measurement, differs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

from rra_cli.comparison.groups import Group, flatten
from rra_cli.comparison.runs import FinishedRun
from rra_cli.report.run import part_of

ALTERED = "the same network on differently altered data"
MEASURED = "the same network, measured in other ways"


def alteration_of(run: FinishedRun) -> str:
    """What all its measured samples were altered by; "" where they were not."""
    name = str(part_of(run.config, "alter").get("name", ""))
    return "" if name == "none" else name


def same_networks(groups: Sequence[Group]) -> dict[tuple[str, str], str]:
    """Pairs of groups (both orders) all of whose runs measured one trained network, and what differs then.

    Networks are the same where their trainings are: one key in the store. Nothing is known of a user's files.
    """
    found = {}
    for one, other in combinations(groups, 2):
        if all(a.trainings and a.trainings == b.trainings for a, b in product(one.runs, other.runs)):
            alters = {tuple(flatten(part_of(run.config, "alter")).items()) for run in (*one.runs, *other.runs)}
            told = ALTERED if len(alters) > 1 else MEASURED
            found[one.label, other.label] = found[other.label, one.label] = told
    return found
