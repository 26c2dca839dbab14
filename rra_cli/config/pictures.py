"""Pictures of layers in two dimensions, as they are configured."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from rra_cli.core.fields import identity, selection

Method = Literal["pca", "isomap", "umap"]
Attribute = Literal["luminance", "contrast", "hue"]
_CHECKPOINT = re.compile(r"all|last|best|epoch_\d{4,}")


@dataclass(frozen=True)
class PicturesConfig:
    """Which layers are drawn in two dimensions, and how.

    layers: names or globs; none: no pictures. methods: pca (the plane of largest variance), isomap and umap (from the
    stored neighbour graph; umap needs umap-learn). checkpoints: all, last, best, epoch_NNNN, among those measured.
    n_samples: drawn and listed at most, by a seeded draw; all measured samples enter the pictures. n_neighbors: of each
    sample that are read of the stored graph; None: 15, or k where that is less. landmarks: samples between which isomap
    measures along the graph; None: all. min_dist: of umap. seed: of landmarks, umap and which samples are drawn.
    color_by: an attribute of the images that colours a second picture; None: classes alone.
    """

    layers: tuple[str, ...] = selection(())
    methods: tuple[Method, ...] = selection(("pca", "isomap"))
    checkpoints: tuple[str, ...] = selection(("last",))
    n_samples: int = selection(2000)
    n_neighbors: int | None = identity(None)
    landmarks: int | None = identity(500)
    min_dist: float = identity(0.1)
    seed: int = identity(0)
    color_by: Attribute | None = selection(None)

    def __post_init__(self) -> None:
        for name, least in (("n_samples", 1), ("n_neighbors", 2), ("landmarks", 3), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}; at least {least} is needed")
        if not 0.0 <= self.min_dist <= 1.0:
            raise ValueError(f"min_dist is {self.min_dist}; it must lie in [0, 1], the spread of umap")
        if self.seed >= 2**32:
            raise ValueError(f"seed is {self.seed}; it must be less than 2^32")
        for name in ("methods", "checkpoints"):
            values = getattr(self, name)
            if not values:
                raise ValueError(f"{name} names none; leave layers empty for no pictures")
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names one twice: {', '.join(values)}")
        for checkpoint in self.checkpoints:
            if not _CHECKPOINT.fullmatch(checkpoint):
                raise ValueError(
                    f"checkpoints holds {checkpoint!r}; expected all, last, best or epoch_NNNN (such as epoch_0010)"
                )
