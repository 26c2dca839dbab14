"""Differences within one network: from a layer to the next, and of training and test samples."""

from __future__ import annotations

import pytest

from rra_cli.comparison.contrasts import contrast_differences, contrast_rows, contrasts_of
from rra_cli.comparison.curves import KEY, Cell, Key
from rra_cli.comparison.groups import Group
from rra_cli.comparison.statistics import NO_SCATTER

NAN = float("nan")
GROUP = Group("augment=none", {"augment": "none"}, ())
OTHER = Group("augment=rra", {"augment": "rra"}, ())
Values = tuple[float, ...]


def key(layer: str, split: str = "train", subset: int = 0, n: int = 50) -> Key:
    told = {"metric": "id", "dataset": "", "checkpoint": "last", "split": split, "layer": layer, "pool": "none"}
    return tuple({**told, "scale": 1, "subset": subset, "n_samples": n, "k": 5}[name] for name in KEY)


def cells(values: dict[Key, Values], *, first: int = 0) -> dict[Key, Cell]:
    """By key the values of consecutive seeds; layers stand in the order of their names."""
    order = sorted({each[KEY.index("layer")] for each in values})
    return {
        each: Cell(dict(enumerate(own, first)), {3}, {order.index(each[KEY.index("layer")])})
        for each, own in values.items()
    }


def test_a_layer_is_taken_from_the_next_one_network_by_network() -> None:
    """Falls of 1, 2 and 3: t = -2 sqrt 3 with two degrees of freedom, whatever the networks differ by."""
    found = contrasts_of(cells({key("c"): (0.0, 0.0, 0.0), key("a"): (11.0, 25.0, 7.0), key("b"): (10.0, 23.0, 4.0)}))
    rows = list(contrast_rows(GROUP, found))
    steps = [(row["layer"], row["other"], row["index"]) for row in rows]
    assert sorted(steps) == [("a", "b", 0), ("b", "c", 1)], "no step leaves a layer out"
    (fall,) = (row for row in rows if row["layer"] == "a")
    assert (fall["contrast"], fall["mean"], fall["sd"], fall["n"]) == ("next layer", -2.0, 1.0, 3)
    assert fall["p"] == pytest.approx(1 - 12**0.5 / 14**0.5, rel=1e-6)
    assert (fall["high"] - fall["mean"]) == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    (steep,) = (row for row in rows if row["layer"] == "b")
    assert steep["p"] > 0.1, "the control: falls of 10, 23 and 4 are no finding of three seeds"


def test_training_and_test_samples_are_compared_where_n_is_equal() -> None:
    equal = contrasts_of(cells({key("a"): (0.75, 0.5), key("a", "test"): (0.5, 0.25)}))
    (row,) = contrast_rows(GROUP, equal)
    assert (row["contrast"], row["split"], row["other"], row["mean"]) == ("train - test", "train", "test", 0.25)
    assert contrasts_of(cells({key("a"): (0.75,), key("a", "test", n=60): (0.5,)})) == {}
    assert contrasts_of(cells({key("a", subset=1): (0.75,), key("b", subset=1): (0.5,)})) == {}, "of the whole set"


def test_a_network_needs_both_values() -> None:
    found = contrasts_of(cells({key("a"): (1.0, NAN, 5.0), key("b"): (2.0, 4.0, 7.0)}))
    (row,) = contrast_rows(GROUP, found)
    assert (row["mean"], row["n"]) == (1.5, 2)
    assert list(contrast_rows(GROUP, contrasts_of(cells({key("a"): (NAN,), key("b"): (1.0,)})))) == []


def test_groups_differ_by_the_differences_of_their_falls() -> None:
    one = contrasts_of(cells({key("a"): (5.0, 9.0, 2.0), key("b"): (4.0, 8.0, 1.0)}))
    other = contrasts_of(cells({key("a"): (8.0, 6.0, 9.0), key("b"): (5.0, 2.0, 4.0)}))  # falls of 3, 4 and 5
    (row,) = contrast_differences([GROUP, OTHER], [one, other])
    assert (row["group_a"], row["group_b"], row["difference"], row["paired"]) == (
        *("augment=none", "augment=rra"),
        *(3.0, "by seed"),
    )
    assert row["p"] == pytest.approx(1 - 27**0.5 / 29**0.5, rel=1e-6)
    assert (row["n_a"], row["n_b"]) == (3, 3)
    apart = contrasts_of(cells({key("a"): (8.0, 6.0), key("b"): (5.0, 2.0)}, first=7))
    (row,) = contrast_differences([GROUP, OTHER], [one, apart])
    assert (row["paired"], row["n_b"]) == ("no", 2)
    missing = contrasts_of(cells({key("a"): (NAN,), key("b"): (1.0,)}))
    assert list(contrast_differences([GROUP, OTHER], [one, missing])) == []


def test_falls_that_are_equal_but_for_rounding_have_neither_interval_nor_p() -> None:
    """Falls of .0001 from .9, .4 and .7: rounding is that of the values, not of what is left of them."""
    values = {key("a"): (0.9, 0.4, 0.7), key("b"): (0.8999, 0.3999, 0.6999)}
    found = contrasts_of(cells(values))
    (row,) = contrast_rows(GROUP, found)
    assert row["sd"] > 0.0
    assert row["mean"] == pytest.approx(-1e-4)
    assert all(row[name] != row[name] for name in ("low", "high", "p"))
    assert row["reason"] == NO_SCATTER
    more = contrasts_of(cells({key("a"): (0.3, 0.8, 0.05), key("b"): (0.2998, 0.7998, 0.0498)}))
    (row,) = contrast_differences([GROUP, OTHER], [found, more])
    assert (row["difference"], row["reason"]) == (pytest.approx(1e-4), NO_SCATTER)
    (row,) = contrast_rows(GROUP, contrasts_of(cells({**values, key("b"): (0.8999, 0.3999, 0.6999 - 1e-9)})))
    assert (row["reason"], row["p"] < 1e-9) == ("", True), "the control"
