"""The pullback metric: how a layer's map stretches and bends its input space, and whether it does so at boundaries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from rra_cli.core.fields import identity, selection
from rra_cli.metrics.metric import Input, Metric, Scope

Place = Literal["line", "plane", "grid", "points"]
# Anchors that a place is made of.
ANCHORS: dict[Place, int] = {"line": 2, "plane": 3, "grid": 0, "points": 1}
_MOST = 100_000  # points of one place: more than any picture shows


@dataclass(frozen=True)
class Pullback(Metric):
    """Volume element and curvature of layers as maps of the input, along lines and planes through images (pullback).

    g = J^T J of the Jacobian J of a layer at an input; the value is log sqrt(det g), in nats, by how much the layer
    magnifies small volumes there (Zavatone-Veth et al. 2023). Where a layer has fewer numbers than the input, that of
    the directions that it does not lose. No activations are stored: what is read are the weights and some images.

    at: `line` between two samples, `plane` through three, `grid` over two-dimensional data, `points`: samples alone.
    classes: of the anchors, by name or number; empty: different ones by chance. ids: the anchors of the first line or
    plane, as positions in the split, instead of classes. split: where anchors come from. seed: draws them. n: points of
    the first line, or along each side of the first plane or of the grid; samples of `points`. extent: of the plane, in
    sides of its triangle. bounds: of the grid, in the data's own coordinates. space: in which anchors are interpolated
    and derivatives are taken; the points are the same in both. n_units: lines or planes, each through other samples,
    that a test of the difference at boundaries is made over, the first one among them. unit_points: points of the
    others; of a plane, along each side of its triangle.

    layers: names or globs; empty: the last of every stage between input and head. features: `pooled`: maps averaged to
    at most `limit` numbers; `full`. top: only so many largest singular values enter; None: all above the rounding error
    of `dtype`, the type of the forward passes, so that their number, and with it every volume, may depend on it.
    curvature: scalar curvature of the surface that a plane or grid becomes. boundary, near: the share of a line's or
    plane's points with the highest entropy, or the smallest margin of predictions, is near the boundary, as large a
    share at the other end far from it. probe_samples: training samples of the logistic regression that predicts where
    the network has no classifier; null: all.
    """

    name: ClassVar[str] = "pullback"
    scope: ClassVar[Scope] = "network"
    inputs: ClassVar[frozenset[Input]] = frozenset({"encoder", "images"})
    unit: ClassVar[str] = "nats"
    higher_is: ClassVar[str] = "small volumes of the input are magnified more"

    at: Place = identity("line")
    classes: tuple[str | int, ...] = identity(())
    ids: tuple[int, ...] = identity(())
    split: Literal["train", "test"] = identity("train")
    seed: int = identity(0)
    n: int = identity(60)
    extent: float = identity(1.0)
    bounds: tuple[float, float] = identity((-1.5, 1.5))
    space: Literal["normalised", "pixels"] = identity("normalised")
    n_units: int = identity(20)
    unit_points: int = identity(15)
    layers: tuple[str, ...] = identity(())
    features: Literal["pooled", "full"] = identity("pooled")
    limit: int = identity(512)
    top: int | None = identity(10)
    dtype: Literal["float32", "float64"] = identity("float32")
    curvature: bool = identity(False)
    probe_samples: int | None = identity(10_000)
    boundary: Literal["entropy", "margin"] = selection("entropy")
    near: float = selection(0.25)

    def __post_init__(self) -> None:
        k = ANCHORS[self.at]
        for name, low in (("n", 2), ("n_units", 1), ("unit_points", 4), ("limit", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} is {getattr(self, name)}; at least {low} is needed")
        for name in ("top", "probe_samples"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; at least 1 is needed (null takes all)")
        if self.n_points > _MOST:
            raise ValueError(f"n is {self.n}, which makes {self.n_points:,} points; at most {_MOST:,} are looked at")
        if not 0.0 < self.near <= 0.5:
            raise ValueError(f"near is {self.near}; a share above 0 and at most 0.5 is needed")
        if not 0.0 < self.extent < float("inf"):
            raise ValueError(f"extent is {self.extent}; a positive number is needed (1 is a side of the triangle)")
        if not -float("inf") < self.bounds[0] < self.bounds[1] < float("inf"):
            raise ValueError(f"bounds is {list(self.bounds)}; two ascending numbers are needed")
        if self.classes and self.ids:
            raise ValueError("both classes and ids are given; ids say which samples, so leave classes out")
        if self.at in ("grid", "points") and self.ids:
            raise ValueError(f"ids are the anchors of a line or plane; at is {self.at}, so leave them out")
        if self.ids and (len(self.ids) != k or min(self.ids) < 0):
            raise ValueError(f"ids is {list(self.ids)}; a {self.at} has {k} anchors, positions from 0")
        if self.classes and self.at in ("line", "plane") and len(self.classes) != k:
            raise ValueError(f"classes is {list(self.classes)}; a {self.at} has {k} anchors")
        if self.curvature and self.at not in ("plane", "grid"):
            raise ValueError(f"curvature is that of a surface: at is {self.at}, use plane or grid")

    @property
    def n_points(self) -> int:
        """Points of the first line or plane, of the grid, or samples."""
        return self.n**2 if self.at in ("plane", "grid") else self.n

    @property
    def more_points(self) -> int:
        """Points of all the other lines or planes."""
        if self.at in ("grid", "points"):
            return 0
        each = self.unit_points if self.at == "line" else self.unit_points * (self.unit_points + 1) // 2
        return (self.n_units - 1) * each
