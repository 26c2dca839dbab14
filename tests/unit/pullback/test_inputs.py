"""Lines, planes and grids: their points, what lies between the anchors, and which samples serve as anchors."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest

from rra_cli.data.normalise import normalise
from rra_cli.errors import UserError
from rra_cli.pullback.inputs import (
    TRIANGLE,
    Section,
    check_anchors,
    class_codes,
    draw_anchors,
    grid,
    line,
    plane,
    triangle,
)

SHAPE = (3, 4, 4)


def anchors(k: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(k, *SHAPE))


def test_a_line_goes_evenly_from_one_anchor_to_the_other() -> None:
    a, b = anchors(2)
    points = line(5).points(np.stack([a, b]))
    np.testing.assert_allclose(points[0], a, atol=1e-15)
    np.testing.assert_allclose(points[-1], b, atol=1e-15)
    steps = [after - before for before, after in pairwise(points)]
    for step in steps:
        np.testing.assert_allclose(step, (b - a) / 4, atol=1e-14)
    assert line(5).inside.all()


def test_a_plane_is_the_one_of_the_paper() -> None:
    """origin + x right + y up, written out as there."""
    a, b, c = anchors(3)
    origin, right = (a + b + c) / 3, b - a
    up = ((a + b) / 2 - origin) * 2 * np.sqrt(3)
    section = plane(7, 0.9)
    points = section.points(np.stack([a, b, c]))
    for (x, y), point in zip(section.coordinates, points, strict=True):
        np.testing.assert_allclose(point, origin + x * right + y * up, atol=1e-13)
    assert section.coordinates[0].tolist() == [-0.9, -0.9]
    assert section.coordinates[1, 1] == -0.9, "x changes fastest"


def test_the_corners_of_the_triangle_are_the_anchors() -> None:
    a, b, c = anchors(3)
    origin, right = (a + b + c) / 3, b - a
    up = ((a + b) / 2 - origin) * 2 * np.sqrt(3)
    for (x, y), anchor in zip(TRIANGLE, (a, b, c), strict=True):
        np.testing.assert_allclose(origin + x * right + y * up, anchor, atol=1e-13)


def test_equidistant_anchors_give_axes_of_equal_length_at_right_angles_and_others_do_not() -> None:
    def axes(points: np.ndarray) -> tuple[float, float, float]:
        a, b, c = points
        right, up = b - a, ((a + b) / 2 - (a + b + c) / 3) * 2 * np.sqrt(3)
        return float(np.linalg.norm(right)), float(np.linalg.norm(up)), float(right.ravel() @ up.ravel())

    right, up, product = axes(np.eye(3))
    assert right == pytest.approx(up)
    assert product == pytest.approx(0.0, abs=1e-12)
    right, up, product = axes(np.array([[0.0, 0], [1, 0], [3, 1]]))
    assert right != pytest.approx(up)
    assert abs(product) > 0.1


def test_what_is_inside_lies_on_the_inner_side_of_all_edges() -> None:
    section = plane(41)
    corners = TRIANGLE
    signs = []
    for start, stop in ((0, 1), (1, 2), (2, 0)):
        edge, to = corners[stop] - corners[start], section.coordinates - corners[start]
        signs.append(edge[0] * to[:, 1] - edge[1] * to[:, 0])
    expected = np.all(np.array(signs) <= 1e-9, axis=0)  # a, b, c run clockwise
    np.testing.assert_array_equal(section.inside, expected)
    # Sides of 1: sqrt(3) / 4 of the square of side 2.
    assert section.inside.mean() == pytest.approx(np.sqrt(3) / 16, abs=0.01)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_a_triangle_has_even_points_between_its_anchors(n: int) -> None:
    section = triangle(n)
    assert len(section) == n * (n + 1) // 2
    assert section.inside.all()
    assert section.weights.min() >= 0.0
    np.testing.assert_allclose(section.weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(section.coordinates, section.weights @ TRIANGLE)
    if n > 1:
        assert {tuple(row) for row in np.eye(3)} <= {tuple(row) for row in section.weights}


@pytest.mark.parametrize("section", [line(6), plane(5), triangle(4)])
def test_interpolation_commutes_with_normalisation(section: Section) -> None:
    """Whether pixels or normalised values are interpolated, the points are the same images."""
    images = np.random.default_rng(0).integers(0, 256, (section.weights.shape[1], *SHAPE), dtype=np.uint8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    pixels = section.points(images / 255.0)
    shape = (1, 3, 1, 1)
    of_pixels = (pixels - np.reshape(mean, shape)) / np.reshape(std, shape)
    np.testing.assert_allclose(section.points(normalise(images, mean, std)), of_pixels, atol=2e-6)
    # Negative control: what is not affine does not commute.
    assert np.abs(section.points((images / 255.0) ** 2) - pixels**2).max() > 0.01


def test_a_grid_covers_the_square_and_its_first_coordinate_changes_fastest() -> None:
    points = grid(3, (-1.5, 1.5))
    assert points[:3].tolist() == [[-1.5, -1.5], [0.0, -1.5], [1.5, -1.5]]
    assert points[-1].tolist() == [1.5, 1.5]


def test_equal_and_collinear_anchors_are_refused() -> None:
    a, b, c = anchors(3)
    check_anchors(np.stack([a, b, c]), (1, 2, 3))
    check_anchors(np.stack([a, b]), (1, 2))
    with pytest.raises(UserError, match="all 3 anchors are the same image"):
        check_anchors(np.stack([a, a, a]), (1, 2, 3))
    with pytest.raises(UserError, match=r"anchors \(3, 1\) are the same image: no plane"):
        check_anchors(np.stack([a, b, a]), (1, 2, 3))
    with pytest.raises(UserError, match="no line goes through"):
        check_anchors(np.stack([a, a]), (1, 2))
    with pytest.raises(UserError, match="on one line: they span no plane"):
        check_anchors(np.stack([a, b, 0.3 * a + 0.7 * b]), (1, 2, 3))


def test_three_images_are_on_a_line_by_the_height_of_their_triangle_whatever_their_order() -> None:
    """Height over the longest side, 1e-4."""
    for height, spans in ((0.9e-4, False), (1.1e-4, True)):
        corners = np.array([(0.0, 0.0), (1.0, 0.0), (0.5, height)])
        for order in permutations(range(3)):
            if spans:
                check_anchors(corners[list(order)], (1, 2, 3))
            else:
                with pytest.raises(UserError, match="on one line"):
                    check_anchors(corners[list(order)], (1, 2, 3))


def test_classes_are_found_by_name_and_number() -> None:
    names = ("cat", "dog", "frog")
    assert class_codes(["dog", 0], names) == [1, 0]
    assert class_codes(["7", 6], tuple("0123456789")) == [7, 6]
    with pytest.raises(UserError, match=r"there is no class 'dogg'.*dog"):
        class_codes(["dogg"], names)
    with pytest.raises(UserError, match="there is no class 3"):
        class_codes([3], names)


def test_no_sample_is_an_anchor_twice() -> None:
    labels = np.arange(60) % 4
    found = draw_anchors(labels, [2, 0, 2], 3, 7, seed=1)
    assert found.shape == (7, 3)
    assert len(set(found.ravel())) == 21
    np.testing.assert_array_equal(labels[found], np.tile([2, 0, 2], (7, 1)))
    free = draw_anchors(labels, [], 3, 15, seed=1)
    assert len(set(free.ravel())) == 45
    assert all(len(set(row)) == 3 for row in labels[free])


def test_anchors_depend_on_the_seed_alone_and_the_first_ones_not_on_how_many_there_are() -> None:
    labels = np.arange(100) % 5
    np.testing.assert_array_equal(draw_anchors(labels, [1, 2], 2, 4, 0), draw_anchors(labels, [1, 2], 2, 9, 0)[:4])
    assert not np.array_equal(draw_anchors(labels, [1, 2], 2, 4, 0), draw_anchors(labels, [1, 2], 2, 4, 1))


def test_too_few_samples_for_so_many_units_are_told() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    with pytest.raises(UserError, match="3 lines need more samples of class 0"):
        draw_anchors(labels, [0, 1], 2, 3, 0)
    with pytest.raises(UserError, match="planes need more samples of 3 different classes"):
        draw_anchors(labels, [], 3, 1, 0)
