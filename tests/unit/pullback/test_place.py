"""All points of a pullback metric: which samples serve as anchors, what x and y are, and what tables are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from rra_cli.data.dataset import Samples
from rra_cli.data.digits import Digits
from rra_cli.data.normalise import normalise
from rra_cli.metrics.pullback import Pullback
from rra_cli.pullback.inputs import TRIANGLE
from rra_cli.pullback.place import Place, thumbnails

LINE = Pullback(at="line", n=9, n_units=4, unit_points=6)
PLANE = Pullback(at="plane", n=5, n_units=3, unit_points=4)
FIRST_ID = 100


def samples(per_class: int = 4) -> Samples:
    """Five classes by turns; ids are no positions."""
    n = 5 * per_class
    images = np.random.default_rng(0).integers(0, 17, (n, 1, 8, 8), dtype=np.uint8)
    return Samples(images, np.arange(n) % 5, np.arange(n) + FIRST_ID)


def place(metric: Pullback, **more: Any) -> Place:
    return Place(metric, Digits(), samples(**more))


def test_directions_of_a_plane_are_what_x_and_y_are() -> None:
    found = place(replace(PLANE, extent=1.5))
    points = found.points(0, 25)
    section = found.units[0].section
    assert np.abs(section.coordinates).max() == 1.5
    right, up = found.directions() or (None, None)
    middle = points[12]  # x = y = 0
    for (x, y), point in zip(section.coordinates, points, strict=True):
        np.testing.assert_allclose(point, middle + x * right + y * up, atol=1e-9)


def test_chosen_ids_are_the_first_anchors_and_serve_no_other_unit() -> None:
    """Their classes are those of the other lines, all of whose samples are taken: none is left to be taken twice."""
    ids = (FIRST_ID + 3, FIRST_ID + 1)  # of classes 3 and 1
    found = place(replace(LINE, ids=ids)).arrays()
    anchors = found["anchors"]
    assert anchors.shape == (4, 2), "n_units counts the first one"
    assert anchors[0].tolist() == list(ids)
    assert len(set(anchors.ravel().tolist())) == 8
    np.testing.assert_array_equal(found["anchor_labels"], np.tile([3, 1], (4, 1)))
    np.testing.assert_array_equal((anchors - FIRST_ID) % 5, found["anchor_labels"])


def test_lines_begin_at_0_and_end_at_1_and_planes_have_their_triangle() -> None:
    way = place(LINE)
    arrays = way.arrays()
    np.testing.assert_array_equal(arrays["anchor_places"], [(0.0, np.nan), (1.0, np.nan)])
    images = samples().images[arrays["anchors"][0] - FIRST_ID]
    ends = normalise(images, Digits.mean, Digits.std)
    np.testing.assert_allclose(way.points(0, 9)[[0, -1]], ends, atol=1e-6)
    np.testing.assert_array_equal(arrays["coordinates"][:9, 0], np.linspace(0, 1, 9))
    np.testing.assert_array_equal(place(PLANE).arrays()["anchor_places"], TRIANGLE)


def test_points_are_samples_of_the_wanted_classes() -> None:
    found = place(Pullback(at="points", n=6, classes=(2, 4)))
    ids = found.arrays()["sample_ids"]
    assert set(((ids - FIRST_ID) % 5).tolist()) <= {2, 4}
    assert len(set(ids.tolist())) == 6
    expected = normalise(samples().images[ids - FIRST_ID], Digits.mean, Digits.std)
    np.testing.assert_allclose(found.points(0, 6), expected, atol=1e-6)
    np.testing.assert_array_equal(found.points(2, 5), found.points(0, 6)[2:5])


def test_a_piece_of_the_points_is_that_piece_of_all() -> None:
    for metric in (LINE, PLANE, Pullback(at="grid", n=3)):
        found = place(metric) if metric.at != "grid" else Place(metric, FlatDigits(), None)
        whole = found.points(0, len(found))
        assert len(whole) == len(found) == metric.n_points + metric.more_points
        for start in range(0, len(found), 4):
            piece = found.points(start, min(start + 4, len(found)))
            np.testing.assert_allclose(piece, whole[start : start + 4], rtol=1e-11, atol=1e-13)


class FlatDigits(Digits):
    """Of two numbers each."""

    input_shape = (2, 1, 1)


def test_thumbnails_have_32_pixels_a_side_at_most() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 40, 70), dtype=np.uint8)
    np.testing.assert_array_equal(thumbnails(images), images[:, :, ::3, ::3])
    assert thumbnails(images[:, :, :32, :32]).shape == (2, 3, 32, 32), "not smaller than they must be"
