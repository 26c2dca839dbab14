"""A finished run as plots and report see it: its tables, its training curve and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.glossary import LAYER_SIMILARITY, Term, term
from rra_cli.report.series import Checkpoint, Series, Variant
from rra_cli.report.tables.reading import Tables

if TYPE_CHECKING:
    import pandas as pd

# More checkpoints than this are no longer lines in one plot: they get maps over epochs.
FEW_CHECKPOINTS = 3


@dataclass(frozen=True)
class Run:
    """Everything that plots and report are made of.

    training: one row per epoch, None where nothing was trained. search_times: one row per search of a compared layer.
    """

    name: str
    tables: Tables
    training: pd.DataFrame | None = None
    search_times: pd.DataFrame | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Layer names in order."""
        frame = self.tables.layers.drop_duplicates("layer").sort_values("index", kind="stable")
        return tuple(frame["layer"])

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """The stage of every layer, "" where the architecture names none."""
        frame = self.tables.layers.drop_duplicates("layer").set_index("layer")
        return tuple(frame["stage"][layer] if "stage" in frame else "" for layer in self.layers)

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The measured splits, train first."""
        found = [str(split) for split in self.tables.layers["split"].unique()]
        return tuple(
            sorted(
                found, key=lambda split: (("train", "test").index(split) if split in ("train", "test") else 2, split)
            )
        )

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """The poolings, unpooled first, then by name and window."""
        pairs = self.tables.layers[["pool", "scale"]].drop_duplicates().itertuples(index=False)
        found = {Variant(str(pool), int(scale)) for pool, scale in pairs}
        return tuple(sorted(found, key=lambda v: (v.pool != "none", v.pool, v.scale == 0, v.scale)))

    @cached_property
    def plain_variants(self) -> tuple[Variant, ...]:
        """Those that plots of one scale show: without windows over maps, unless there is nothing else."""
        return tuple(variant for variant in self.variants if not variant.is_spatial) or self.variants

    @cached_property
    def scales(self) -> tuple[Variant, ...]:
        """Where layers were pooled over windows: no pooling, where it was measured, and all windows; else empty."""
        spatial = [variant for variant in self.variants if variant.is_spatial]
        return (*(v for v in self.variants if v.pool == "none"), *spatial) if spatial else ()

    @cached_property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The checkpoints by epoch; of two names for the same weights `last` goes first, `best` comes last."""
        import pandas as pd

        rank = {"last": 0, "best": 2}
        rows = self.tables.layers[["checkpoint", "epoch"]].drop_duplicates().itertuples(index=False)
        found: dict[Any, Checkpoint] = {}
        for label, epoch in sorted(rows, key=lambda row: rank.get(row[0], 1)):
            known = None if pd.isna(epoch) else int(epoch)
            found.setdefault(label if known is None else known, Checkpoint(str(label), known))
        return tuple(sorted(found.values(), key=lambda c: (-1 if c.epoch is None else c.epoch, c.label)))

    @property
    def main_checkpoint(self) -> Checkpoint:
        """The one that single-checkpoint plots show: `last`, else the latest."""
        return next((c for c in self.checkpoints if c.label == "last"), self.checkpoints[-1])

    @property
    def shown_checkpoints(self) -> tuple[Checkpoint, ...]:
        """Those that are lines in one plot: all when few, the main one when many."""
        return self.checkpoints if len(self.checkpoints) <= FEW_CHECKPOINTS else (self.main_checkpoint,)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of layers, in the tables' order."""
        return tuple(str(metric) for metric in self.tables.metrics["metric"].unique())

    @property
    def id_metrics(self) -> tuple[str, ...]:
        """The estimates of intrinsic dimension among them."""
        return tuple(metric for metric in self.metrics if self.term(metric).is_dimension)

    @cached_property
    def pair_metrics(self) -> tuple[str, ...]:
        """The metrics of pairs of layers beside NNLS, in the tables' order."""
        return (
            () if self.tables.pairs is None else tuple(str(metric) for metric in self.tables.pairs["metric"].unique())
        )

    @property
    def similarities(self) -> Mapping[str, Term]:
        """The terms of all metrics of pairs of layers: of `nnls`, where there is that table, and of the others."""
        nnls = {} if self.tables.nnls is None else {"nnls": LAYER_SIMILARITY}
        return {**nnls, **{metric: self.term(metric) for metric in self.pair_metrics}}

    def term(self, metric: str) -> Term:
        """What a column holds, by the class that the configuration names for it."""
        return term(metric, part_of(part_of(self.config, "metrics"), metric))

    def has_chance(self, metric: str) -> bool:
        """Whether the metric came with a chance level."""
        frame = self.tables.metrics
        return bool(frame.loc[frame["metric"] == metric, "chance"].notna().any())

    def has_intervals(self, metric: str) -> bool:
        """Whether any value of the metric, of layers or of pairs, came with an interval (`metrics.intervals`)."""
        tables = self.tables
        for frame in (tables.metrics, tables.pairs):
            if frame is not None and "low" in frame and frame.loc[frame["metric"] == metric, "low"].notna().any():
                return True
        nnls = tables.nnls if metric == LAYER_SIMILARITY.component else None
        return nnls is not None and "low" in nnls and bool(nnls["low"].notna().any())

    def series(self, metric: str, checkpoint: Checkpoint, split: str, variant: Variant) -> Series | None:
        """That metric along the layers; None where none was measured."""
        frame = self.rows(self.tables.metrics, checkpoint, split, variant)
        frame = frame[frame["metric"] == metric]
        # One value a layer: the largest k where several were measured, an exact graph before an approximate one.
        frame = frame.sort_values(["k", "engine"], ascending=[False, True], kind="stable").drop_duplicates("layer")
        if frame.empty:
            return None
        frame = frame.set_index("layer").reindex(list(self.layers))
        empty = np.flatnonzero(frame["value"].isna() & frame["subset"].notna())
        value, error, chance = (frame[column].to_numpy(float) for column in ("value", "std_error", "chance"))
        ends = (frame["low"].to_numpy(float), frame["high"].to_numpy(float)) if self.has_intervals(metric) else None
        return Series(metric, checkpoint, split, variant, value, error, chance, tuple(int(at) for at in empty), ends)

    def rows(self, frame: pd.DataFrame, checkpoint: Checkpoint, split: str, variant: Variant) -> pd.DataFrame:
        """The rows of a table with the common columns at that checkpoint, split and pooling."""
        # Without the smaller subsets that a metric over sample sizes adds: the measured set alone.
        frame = frame[frame["subset"] == 0]
        frame = frame[frame["n_samples"] == frame.groupby("split")["n_samples"].transform("max")]
        return frame[
            (frame["checkpoint"] == checkpoint.label)
            & (frame["split"] == split)
            & (frame["pool"] == variant.pool)
            & (frame["scale"] == variant.scale)
        ]

    @property
    def alteration(self) -> str:
        """What all measured samples were altered by (`alter`); "" where they were not."""
        return alteration_in(self.config)

    def accuracy(self, split: str, checkpoint: Checkpoint) -> float:
        """Classification accuracy on the split, which training never alters, at the checkpoint's epoch; NaN where none
        was logged."""
        if self.training is not None and checkpoint.epoch is not None:
            at = self.training[self.training["epoch"] == checkpoint.epoch]
            # What was measured was not augmented, so that is the accuracy to hold it against.
            for column in (f"{split}_clean_accuracy", f"{split}_accuracy"):
                if column in at and at[column].notna().any():
                    return float(at[column].iloc[-1])
        return float("nan")


def part_of(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A mapping within the configuration; empty where there is none."""
    return config[key] if key in config and isinstance(config[key], Mapping) else {}


def alteration_in(config: Mapping[str, Any]) -> str:
    """What all measured samples of a run with that configuration were altered by; "" where they were not."""
    name = str(part_of(config, "alter").get("name", ""))
    return "" if name == "none" else name


def unaltered_images(splits: Sequence[str]) -> str:
    """What an accuracy is of where the measured samples were altered: networks are judged by the images as they are."""
    return f"unaltered {splits[0]} images" if len(splits) == 1 else "unaltered images"
