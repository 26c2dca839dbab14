"""The smallest values of every row of a strip, with few passes over it."""

from __future__ import annotations

import math

import torch

Lists = tuple[torch.Tensor, torch.Tensor]  # values, and columns or ids (int64), both (rows, m)


def smallest(strip: torch.Tensor, m: int) -> Lists:
    """The m smallest values of every row and their columns, `(rows, m)` each, in no order; m of at most the columns.

    Columns are put into g groups, j, j + g, j + 2 g, ... The m smallest values lie in the m groups with the smallest
    minima (a group outside of these has m values below its own), so one pass for the minima leaves about
    sqrt(m columns) values to choose from; a direct `topk` reads the whole strip many times.
    """
    columns = strip.shape[1]
    groups = math.isqrt(m * columns)
    if columns < 16 * m or columns < 256:
        return torch.topk(strip, m, dim=1, largest=False, sorted=False)
    depth = columns // groups
    minima = strip[:, : depth * groups].unflatten(1, (depth, groups)).amin(dim=1)
    best = torch.topk(minima, m, dim=1, largest=False, sorted=False).indices
    steps = torch.arange(0, depth * groups, groups, device=strip.device)
    rest = torch.arange(depth * groups, columns, device=strip.device).expand(len(strip), -1)
    listed = torch.cat(((best[:, None] + steps[:, None]).flatten(1), rest), dim=1)
    values, at = torch.topk(strip.gather(1, listed), m, dim=1, largest=False, sorted=False)
    return values, listed.gather(1, at)


def merged(one: Lists | None, other: Lists, m: int) -> Lists:
    """The m smallest of two lists of every row (all, where there are fewer)."""
    if one is None:
        return other
    values, ids = (torch.cat(parts, dim=1) for parts in zip(one, other, strict=True))
    if values.shape[1] <= m:
        return values, ids
    values, at = torch.topk(values, m, dim=1, largest=False, sorted=False)
    return values, ids.gather(1, at)


def nearest_in_order(distances: torch.Tensor, ids: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k smallest distances of every row in order, ties by lower id: ids and distances `(rows, k)`.

    ids: `(rows, m)`, ascending in every row.
    """
    values, at = torch.sort(distances, dim=1, stable=True)
    return ids.gather(1, at[:, :k]), values[:, :k]


def nearest_of_pairs(
    rows: torch.Tensor, ids: torch.Tensor, distances: torch.Tensor, n_rows: int, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same for lists of different lengths (at least k) given as pairs `(pairs,)`; ids ascend within a row."""
    order = torch.argsort(distances, stable=True)
    order = order[torch.argsort(rows[order], stable=True)]
    starts = torch.searchsorted(rows[order], torch.arange(n_rows, device=rows.device))
    at = order[starts[:, None] + torch.arange(k, device=rows.device)]
    return ids[at], distances[at]
