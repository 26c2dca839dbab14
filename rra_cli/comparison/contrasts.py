"""Differences within one network, over seeds: from a layer to the next one, and of training and test samples.

Both values are of the same network, so that seed by seed their difference is one number a network; these are averaged,
tested against 0, and compared between groups like any metric.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

from rra_cli.comparison.curves import KEY, Cell, Key, columns_of, named
from rra_cli.comparison.groups import Group
from rra_cli.comparison.statistics import LEVEL, NAN, difference, summarise

Row = dict[str, Any]
NEXT_LAYER, SPLITS = "next layer", "train - test"
_LAYER, _SPLIT, _SUBSET = KEY.index("layer"), KEY.index("split"), KEY.index("subset")
Contrasts = dict[tuple[str, str, Key], Cell]  # contrast, the other layer or split, and the key of this one


def contrasts_of(cells: Mapping[Key, Cell]) -> Contrasts:
    """Of every layer of the whole measured set the next layer minus it, and of training samples minus test samples.

    Only where both are of equal N and k, and only of networks that have both values.
    """
    whole = {key: cell for key, cell in cells.items() if key[_SUBSET] == 0}
    return {**_steps(whole), **_splits(whole)}


def _steps(cells: Mapping[Key, Cell]) -> Contrasts:
    chains: dict[Key, list[Key]] = {}
    for key in cells:
        chains.setdefault(_without(key, _LAYER), []).append(key)
    found: Contrasts = {}
    for keys in chains.values():
        keys.sort(key=lambda key: cells[key].index)
        for key, following in pairwise(keys):
            found[NEXT_LAYER, str(following[_LAYER]), key] = _minus(cells[following], cells[key], cells[key])
    return found


def _splits(cells: Mapping[Key, Cell]) -> Contrasts:
    found: Contrasts = {}
    for key, cell in cells.items():
        other = cells.get((*key[:_SPLIT], "test", *key[_SPLIT + 1 :]))
        if key[_SPLIT] == "train" and other is not None:
            found[SPLITS, "test", key] = _minus(cell, other, cell)
    return found


def _minus(one: Cell, other: Cell, like: Cell) -> Cell:
    """one - other in every network that has both."""
    values = {seed: value - other.values.get(seed, NAN) for seed, value in one.values.items()}
    sizes = [abs(value) for each in (one, other) for value in each.values.values() if math.isfinite(value)]
    known = {seed: value for seed, value in values.items() if math.isfinite(value)}
    return replace(like, values=known, scale=max(sizes, default=0.0))


def _without(key: Key, at: int) -> Key:
    return (*key[:at], *key[at + 1 :])


def contrast_rows(group: Group, found: Contrasts, level: float = LEVEL) -> Iterator[Row]:
    """One row a contrast: mean, sd and interval over the seeds, p of a paired t test; no row without a value."""
    for (contrast, other, key), cell in found.items():
        if not cell.values:
            continue
        over = summarise(cell.values.values(), level)
        test = difference(cell.values, dict.fromkeys(cell.values, 0.0), level, scale=cell.scale)
        low, high = (NAN, NAN) if test.reason else (over.low, over.high)
        yield {
            **{"group": group.label, **columns_of(group), "contrast": contrast, "other": other, **named(key)},
            **{"epoch": cell.epoch, "index": cell.index, "mean": over.mean, "sd": over.sd, "n": over.n},
            **{"low": low, "high": high, "p": test.p, "reason": test.reason},
        }


def contrast_differences(groups: Sequence[Group], found: Sequence[Contrasts], level: float = LEVEL) -> Iterator[Row]:
    """Every earlier group minus every later one, of contrasts that both have."""
    for (one, of_one), (other, of_other) in combinations(zip(groups, found, strict=True), 2):
        for where, cell in of_one.items():
            counterpart = of_other.get(where)
            if counterpart is None:
                continue
            counts = [len(each.values) for each in (cell, counterpart)]
            if not min(counts):
                continue
            scale = max(cell.scale, counterpart.scale)
            test = difference(cell.values, counterpart.values, level, scale=scale)
            yield {
                **{"group_a": one.label, "group_b": other.label, "contrast": where[0], "other": where[1]},
                **{**named(where[2]), "epoch": cell.epoch if cell.epoch == counterpart.epoch else None},
                **{"index": cell.index, "difference": test.value, "low": test.low, "high": test.high, "p": test.p},
                **{"n_a": counts[0], "n_b": counts[1], "paired": "by seed" if test.paired else "no"},
                "reason": test.reason,
            }
