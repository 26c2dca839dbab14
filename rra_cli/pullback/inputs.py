"""Where a network's map is looked at: lines and planes through samples, a grid over two-dimensional data, samples.

Points of lines and planes are weighted sums of their anchors, and the weights of a point add up to 1. An affine change
of the images (pixels to normalised values) therefore gives the same points before and after; only the unit in which
derivatives are taken differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.reproducibility import derive_seed
from rra_cli.errors import UserError, did_you_mean

# The triangle of the anchors in the coordinates of `plane`: a, b, c.
TRIANGLE = np.array([(-0.5, 0.5 / sqrt(3)), (0.5, 0.5 / sqrt(3)), (0.0, -1.0 / sqrt(3))])
_ON_THE_EDGE = 1e-9
_COLLINEAR = 1e-4  # height of a triangle over its longest side, below which there is no plane


@dataclass(frozen=True, eq=False)
class Section:
    """Points by their place in a picture and by the anchors that they are made of.

    coordinates: `(m, 1)` or `(m, 2)` float64. weights: `(m, anchors)` float64, of which each row adds up to 1. inside:
    `(m,)`, whether a point lies between its anchors; elsewhere it is extrapolated.
    """

    coordinates: NDArray[np.float64]
    weights: NDArray[np.float64]
    inside: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.coordinates)

    def points(self, anchors: NDArray[np.floating]) -> NDArray[np.float64]:
        """`(m, *shape)` float64 of anchors `(k, *shape)`."""
        return np.tensordot(self.weights, np.asarray(anchors, np.float64), axes=1)


def line(n: int) -> Section:
    """n points a + t (b - a), t evenly from 0 to 1: both anchors are among them."""
    t = np.linspace(0.0, 1.0, n)
    return Section(t[:, None], np.stack([1.0 - t, t], axis=1), np.ones(n, bool))


def plane(n: int, extent: float = 1.0) -> Section:
    """n x n points origin + x right + y up, x and y evenly from -extent to extent; x changes fastest.

    origin = (a + b + c) / 3, right = b - a, up = ((a + b) / 2 - origin) 2 sqrt 3 (Zavatone-Veth et al. 2023): if the
    anchors are as far from each other, right and up are of equal length and at right angles, and the triangle has sides
    of 1. a lies at the upper left, b at the upper right, c at the bottom; see `TRIANGLE`.
    """
    side = np.linspace(-extent, extent, n)
    y, x = (axis.ravel() for axis in np.meshgrid(side, side, indexing="ij"))
    return _of_plane(np.stack([x, y], axis=1))


def triangle(n: int) -> Section:
    """The n (n + 1) / 2 points of an even lattice in the triangle of the anchors, its corners among them."""
    steps = max(1, n - 1)
    weights = np.array([(i, j, steps - i - j) for i in range(n) for j in range(n - i)], np.float64).reshape(-1, 3)
    weights = weights / steps if n > 1 else np.full((1, 3), 1.0 / 3.0)
    return Section(weights @ TRIANGLE, weights, np.ones(len(weights), bool))


def grid(n: int, bounds: tuple[float, float]) -> NDArray[np.float64]:
    """`(n * n, 2)` points of two-dimensional data, both coordinates evenly between the bounds, the first fastest."""
    side = np.linspace(*bounds, n)
    second, first = np.meshgrid(side, side, indexing="ij")
    return np.stack([first.ravel(), second.ravel()], axis=1)


def _of_plane(coordinates: NDArray[np.float64]) -> Section:
    x, y = coordinates.T
    # x (b - a) + y 2 sqrt 3 ((a + b) / 2 - (a + b + c) / 3) + (a + b + c) / 3
    a, b = 1.0 / 3.0 - x + y / sqrt(3), 1.0 / 3.0 + x + y / sqrt(3)
    weights = np.stack([a, b, 1.0 - a - b], axis=1)
    return Section(coordinates, weights, np.all(weights >= -_ON_THE_EDGE, axis=1))


def check_anchors(anchors: NDArray[np.floating], ids: Sequence[int]) -> None:
    """Raises `UserError` where anchors `(k, *shape)` do not span what is asked for: equal images, or three on a line.

    ids: what the user knows them by.
    """
    flat = np.asarray(anchors, np.float64).reshape(len(anchors), -1)
    gram = (flat - flat[0])[1:] @ (flat - flat[0])[1:].T
    hint = "give other samples (ids), or another seed"
    equal = [
        (ids[i], ids[j]) for i in range(len(flat)) for j in range(i) if not np.any(np.abs(flat[i] - flat[j]) > 0.0)
    ]
    if equal:
        what = f"all {len(flat)} anchors are" if len(equal) == len(flat) > 2 else f"anchors {equal[0]} are"
        raise UserError(f"{what} the same image: no {'line' if len(flat) == 2 else 'plane'} goes through them", hint)
    if len(flat) == 3:
        edges = [gram[0, 0], gram[1, 1], gram[0, 0] + gram[1, 1] - 2.0 * gram[0, 1]]
        area = sqrt(max(0.0, gram[0, 0] * gram[1, 1] - gram[0, 1] ** 2))
        if area <= _COLLINEAR * max(edges):
            raise UserError(f"the three anchors {tuple(ids)} lie on one line: they span no plane", hint)


def class_codes(classes: Sequence[str | int], class_names: Sequence[str]) -> list[int]:
    """The labels of classes that are given by name or number. Raises `UserError` for one that there is not."""
    codes = []
    for name in classes:
        if str(name) in class_names:
            codes.append(list(class_names).index(str(name)))
        elif isinstance(name, int) and 0 <= name < len(class_names):
            codes.append(name)
        else:
            raise UserError(
                f"there is no class {name!r}: {did_you_mean(str(name), class_names)}", "name classes of the data set"
            )
    return codes


def draw_anchors(
    labels: NDArray[np.int64], classes: Sequence[int], k: int, n_units: int, seed: int
) -> NDArray[np.int64]:
    """`(n_units, k)` positions of anchors: of these classes in this order, or, without any, of k different ones each.

    No sample serves twice, so that units are independent draws. Raises `UserError` where there are too few samples.
    """
    generator = np.random.default_rng(derive_seed(seed, "pullback", "anchors"))
    left = {int(c): list(generator.permutation(np.flatnonzero(labels == c))) for c in np.unique(labels)}
    found = np.empty((n_units, k), np.int64)
    for unit in range(n_units):
        chosen = list(classes)
        if not chosen:
            ready = [c for c, samples in left.items() if samples]
            chosen = [int(c) for c in generator.permutation(ready)[:k]]
        for place in range(k):
            if place >= len(chosen) or not left.get(chosen[place]):
                of = f" of class {chosen[place]}" if place < len(chosen) else f" of {k} different classes"
                raise UserError(
                    f"{n_units} {'lines' if k == 2 else 'planes'} need more samples{of} than there are",
                    "lower n_units, or measure a larger data set",
                )
            found[unit, place] = left[chosen[place]].pop()
    return found
