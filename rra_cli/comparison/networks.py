"""Which groups of runs measured one and the same network: then only the data, or the measurement, differs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

from rra_cli.comparison.groups import Group, flatten
from rra_cli.report.run import part_of

# Of one network, and of several, one a seed.
ALTERED = "the same network on differently altered data"
MEASURED = "the same network, measured in other ways"
_OF_SEEDS = {
    ALTERED: "the same networks on differently altered data, each seed with the others",
    MEASURED: "the same networks, measured in other ways, each seed with the others",
}


def share_networks(one: Group, other: Group) -> bool:
    """Whether both measured the same trained networks, be they one or one a seed: each of them has one accuracy.

    One training in common tells it, for within a group all are made alike; a seed may be missing in one of them.
    """
    trainings = [{run.trainings for run in group.runs} for group in (one, other)]
    return any(trainings[0] & trainings[1])


def same_networks(groups: Sequence[Group]) -> dict[tuple[str, str], str]:
    """Pairs of groups (both orders) all of whose runs measured one trained network, and what differs then.

    Networks are the same where their trainings are: one key in the store. Nothing is known of a user's files.
    """
    found = {}
    for one, other in combinations(groups, 2):
        if all(a.trainings and a.trainings == b.trainings for a, b in product(one.runs, other.runs)):
            found[one.label, other.label] = found[other.label, one.label] = _differs(one, other)
    return found


def networks_by_seed(groups: Sequence[Group]) -> dict[tuple[str, str], str]:
    """Pairs of groups (both orders) of several networks that are those of the other group, and what differs then.

    Their means are over pairs of different seeds; one network with itself is apart (`same_seed`).
    """
    found = {}
    for one, other in combinations(groups, 2):
        if max(len(one.runs), len(other.runs)) > 1 and share_networks(one, other):
            found[one.label, other.label] = found[other.label, one.label] = _OF_SEEDS[_differs(one, other)]
    return found


def _differs(one: Group, other: Group) -> str:
    alters = {tuple(flatten(part_of(run.config, "alter")).items()) for run in (*one.runs, *other.runs)}
    return ALTERED if len(alters) > 1 else MEASURED
