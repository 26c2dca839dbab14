"""What a pullback metric may be asked for."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from rra_cli.core.fields import identity_of
from rra_cli.metrics.pullback import Pullback


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"n": 1}, "n is 1; at least 2"),
        ({"at": "plane", "n": 1000}, "1,000,000 points; at most 100,000"),
        ({"n_units": 0}, "n_units is 0"),
        ({"unit_points": 3}, "unit_points is 3"),
        ({"top": 0}, "top is 0"),
        ({"probe_samples": 0}, "probe_samples is 0"),
        ({"near": 0.6}, "near is 0.6"),
        ({"near": 0.0}, "near is 0.0"),
        ({"extent": 0.0}, "extent is 0.0"),
        ({"bounds": (1.0, -1.0)}, "bounds is"),
        ({"classes": (1, 2), "ids": (3, 4)}, "both classes and ids"),
        ({"at": "grid", "ids": (3, 4)}, "ids are the anchors"),
        ({"ids": (3, 4, 5)}, "a line has 2 anchors"),
        ({"ids": (3, -1)}, "positions from 0"),
        ({"at": "plane", "classes": (1, 2)}, "a plane has 3 anchors"),
        ({"curvature": True}, "curvature is that of a surface"),
        ({"seed": -1}, "seed is -1"),
        ({"limit": 0}, "limit is 0"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Pullback(**settings)


def test_points_are_counted() -> None:
    assert (Pullback(n=60, n_units=20, unit_points=15).n_points, Pullback(n_units=20, unit_points=15).more_points) == (
        60,
        19 * 15,
    )
    plane = Pullback(at="plane", n=60, n_units=3, unit_points=8)
    assert (plane.n_points, plane.more_points) == (3600, 2 * 36)
    assert Pullback(at="grid").more_points == 0


# Another value of every field; of a plane, so that all of them are allowed.
OTHERS: dict[str, Any] = {"at": "grid", "classes": (1, 2, 3), "ids": (3, 4, 5), "split": "test", "seed": 1, "n": 7}
OTHERS |= {"extent": 1.5, "bounds": (-1.0, 1.0), "space": "pixels", "n_units": 3, "unit_points": 5, "layers": ("gap",)}
OTHERS |= {"features": "full", "limit": 64, "top": 5, "dtype": "float64", "curvature": True, "probe_samples": 100}
READ: dict[str, Any] = {"boundary": "margin", "near": 0.5}


def test_what_is_stored_is_keyed_by_all_that_changes_it() -> None:
    """Another share or another kind of near points is read from the same volumes; nothing else is."""
    plane = Pullback(at="plane")
    assert {declared.name for declared in fields(Pullback)} == {*OTHERS, *READ}
    for name, value in OTHERS.items():
        assert identity_of(replace(plane, **{name: value})) != identity_of(plane), name
    assert identity_of(replace(plane, **READ)) == identity_of(plane)
