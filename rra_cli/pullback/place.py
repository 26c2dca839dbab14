"""All points that a pullback metric looks at, by line or plane, made block by block."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rra_cli.core.reproducibility import derive_seed
from rra_cli.data.dataset import ImageDataset, Samples
from rra_cli.data.normalise import normalise, standardise
from rra_cli.errors import UserError
from rra_cli.metrics.pullback import ANCHORS, Pullback
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

_THUMBNAIL = 32  # pixels


class FromPixels(nn.Module):
    """A network on values in [0, 1], which are normalised first; `network` is its own."""

    def __init__(self, network: nn.Module, dataset: ImageDataset) -> None:
        super().__init__()
        self.network, self.mean, self.std = network, dataset.mean, dataset.std

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """`(n, c, h, w)` in [0, 1] to the network's output."""
        return self.network(standardise(values, self.mean, self.std))


@dataclass(frozen=True, eq=False)
class Unit:
    """One line or plane, the grid, or all samples. samples: positions of its anchors, in their order."""

    samples: NDArray[np.int64]
    section: Section


class Place:
    """The points of all units, one after the other. samples: those that anchors are taken from."""

    def __init__(self, metric: Pullback, dataset: ImageDataset, samples: Samples | None) -> None:
        self.metric, self.dataset, self.samples = metric, dataset, samples
        for unit in self.units if metric.at in ("line", "plane") else ():
            assert samples is not None, "lines and planes go through samples"
            check_anchors(self.anchors(unit), [int(i) for i in samples.ids[unit.samples]])

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """The first is drawn; the others, of fewer points, are for the test."""
        metric = self.metric
        if metric.at == "grid":
            points = grid(metric.n, metric.bounds)
            return (Unit(np.empty(0, np.int64), Section(points, np.empty((len(points), 0)), _all(points))),)
        chosen = self._chosen()
        if metric.at == "points":
            return (Unit(chosen[:, 0], Section(np.empty((len(chosen), 0)), np.eye(len(chosen)), _all(chosen))),)
        sections = (
            (line(metric.n), line(metric.unit_points))
            if metric.at == "line"
            else (plane(metric.n, metric.extent), triangle(metric.unit_points))
        )
        return tuple(Unit(row, sections[min(1, number)]) for number, row in enumerate(chosen))

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum([0, *(len(unit.section) for unit in self.units)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def anchors(self, unit: Unit) -> NDArray[np.floating]:
        """`(k, c, h, w)` as the points are made of them: normalised, or in [0, 1]."""
        assert self.samples is not None, "a grid has no anchors"
        images = self.samples.images[unit.samples]
        if self.metric.space == "pixels" and images.dtype == np.uint8:
            return images.astype(np.float64) / 255.0
        if self.metric.space == "pixels":
            return np.asarray(images, np.float64)
        return normalise(images, self.dataset.mean, self.dataset.std)

    def points(self, start: int, stop: int) -> NDArray[np.float64]:
        """`(stop - start, c, h, w)` of all units' points."""
        parts = []
        for unit, first in zip(self.units, self._starts, strict=False):
            here = slice(max(0, start - int(first)), max(0, stop - int(first)))
            section = unit.section
            if here.start >= len(section) or here.stop <= 0:
                continue
            if self.metric.at == "grid":
                parts.append(section.coordinates[here].reshape(-1, *self.dataset.input_shape))
            elif self.metric.at == "points":
                parts.append(np.asarray(self.anchors(Unit(unit.samples[here], section)), np.float64))
            else:
                parts.append(np.tensordot(section.weights[here], np.asarray(self.anchors(unit), np.float64), axes=1))
        return np.concatenate(parts)

    def directions(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """What x and y of the first plane are in input space; None where the input itself is two-dimensional."""
        if self.metric.at == "grid":
            return None
        a, b, c = np.asarray(self.anchors(self.units[0]), np.float64)
        return b - a, ((a + b) / 2 - (a + b + c) / 3) * (2.0 * np.sqrt(3.0))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What tables and pictures need to know of the points.

        coordinates `(n, 2)` (NaN where there are fewer), inside and unit `(n,)`; anchors `(units, k)` sample ids,
        anchor_labels `(units, k)`, anchor_places `(k, 2)` and thumbnails `(k, c, h, w)` uint8 of the first unit; of
        `points` and the grid none of the latter, of samples that are no pictures no thumbnails.
        """
        coordinates = np.full((len(self), 2), np.nan)
        unit = np.empty(len(self), np.int64)
        for number, (start, each) in enumerate(zip(self._starts, self.units, strict=False)):
            here = slice(int(start), int(start) + len(each.section))
            coordinates[here, : each.section.coordinates.shape[1]] = each.section.coordinates
            unit[here] = number
        found: dict[str, NDArray[np.generic]] = {
            "coordinates": coordinates,
            "unit": unit,
            "inside": np.concatenate([each.section.inside for each in self.units]),
        }
        if self.samples is None:
            return found
        if self.metric.at == "points":
            return found | {"sample_ids": self.samples.ids[self.units[0].samples]}
        rows = np.stack([each.samples for each in self.units])
        places = TRIANGLE if self.metric.at == "plane" else np.array([(0.0, np.nan), (1.0, np.nan)])
        found |= {"anchors": self.samples.ids[rows], "anchor_labels": self.samples.labels[rows]}
        found["anchor_places"] = places
        if self.dataset.pictures:
            found["thumbnails"] = thumbnails(self.samples.images[rows[0]])
        return found

    def _chosen(self) -> NDArray[np.int64]:
        """`(units, k)` positions of anchors; of `points` `(n, 1)`."""
        metric, samples = self.metric, self.samples
        assert samples is not None, "all but the grid is made of samples"
        codes = class_codes(metric.classes, self.dataset.class_names)
        if metric.at == "points":
            known = np.flatnonzero(np.isin(samples.labels, codes)) if codes else np.arange(len(samples))
            if metric.n > len(known):
                raise UserError(
                    f"n is {metric.n:,}, but there are only {len(known):,} such samples in the {metric.split} split",
                    "lower n of the pullback metric",
                )
            order = np.random.default_rng(derive_seed(metric.seed, "pullback", "points")).permutation(known)
            return np.sort(order[: metric.n])[:, None]
        first = np.array([self._position(i) for i in metric.ids], np.int64)
        n_others = metric.n_units - (1 if metric.ids else 0)
        if metric.ids and not codes:
            codes = [int(samples.labels[position]) for position in first]
        labels = np.where(np.isin(np.arange(len(samples)), first), -1, samples.labels)  # none of them serves again
        drawn = draw_anchors(labels, codes, ANCHORS[metric.at], n_others, metric.seed)
        return np.concatenate([first[None], drawn]) if metric.ids else drawn

    def _position(self, sample_id: int) -> int:
        assert self.samples is not None
        found = np.flatnonzero(self.samples.ids == sample_id)
        if not len(found):
            raise UserError(
                f"ids names sample {sample_id}, which is not among the {len(self.samples):,} samples of the "
                f"{self.metric.split} split that are used",
                "ids are positions in the whole split; of the training split only what is trained on (train_size)",
            )
        return int(found[0])


def thumbnails(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images `(k, c, h, w)` of 32 pixels a side at most, by leaving pixels out."""
    step = -(-max(images.shape[2:]) // _THUMBNAIL)
    return np.ascontiguousarray(images[:, :, ::step, ::step])


def _all(points: NDArray[np.generic]) -> NDArray[np.bool_]:
    return np.ones(len(points), bool)
