"""What a run's graphs are graphs of, for whoever compares it with other runs: rows of `manifest.json`."""

from __future__ import annotations

from typing import Any

from rra_cli.core.store import Store
from rra_cli.stages.files import UserFiles
from rra_cli.stages.graphs.graph import unavailable
from rra_cli.stages.layout import Layout


def graph_rows(layout: Layout, store: Store) -> list[dict[str, Any]]:
    """One row a graph that is in the store: the layer it belongs to, the k that was asked for, and where it lies.

    `reason` says why there are no neighbours to read ("" where there are). Compared engines' graphs are left out.
    """
    rows = []
    for graph in layout.graphs if layout.reads_graphs else ():
        point, artifact = graph.point, graph.find(store)
        if artifact is None:
            continue
        row: dict[str, Any] = {"checkpoint": point.checkpoint.label, "epoch": point.checkpoint.epoch}
        row |= {"split": point.split, "layer": point.layer, "index": point.index, "pool": point.pooling.pool}
        row |= {"scale": point.pooling.scale, "n_samples": point.n_samples, "k": point.k}
        rows.append({**row, "path": artifact.name, "reason": unavailable(artifact.path)})
    return rows


def samples(layout: Layout) -> dict[str, Any]:
    """By split, what decides which samples were measured and in which order: equal for equal samples.

    Of a user's files nobody can tell what their rows are; the hash of the labels stands for them (None without).
    """
    images = layout.data
    if isinstance(images, UserFiles):
        labels = images.labels_identity["sha256"] if images.has_labels else None
        return {images.split: {"rows": images.rows_identity, "labels": labels}}
    return {split: images.samples_identity(split) for split in images.dataset.splits}
