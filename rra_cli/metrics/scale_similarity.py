"""How far the layers of a network agree with its pooled layers on who is whose neighbour (inter-scale NNLS)."""

from __future__ import annotations

from collections.abc import Sequence

from rra_cli.metrics.estimate import Estimate, collapsed, undefined
from rra_cli.metrics.layer_similarity import chance_level, iou_table
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.overlap import check_comparable, cross_pairs, overlap_parts


def nnls_between(
    rows: Sequence[NeighborGraph], columns: Sequence[NeighborGraph], *, threads: int | None = None
) -> dict[tuple[int, int], Estimate]:
    """`nnls` of every one of the first graphs with every one of the second, by their places in the two.

    RRA thesis eq. 6.1, with the unpooled layers as rows and the layers at one pooling scale as columns: a matrix that
    is not symmetric, as row a, column b compares unpooled a with pooled b. In [0, 1]; all graphs: of the same samples
    in the same order, same k. A pair has no value where all samples of one of the layers coincide. Values, errors and
    chance levels are those of `nnls`, and nothing depends on threads. Raises `InputError` for graphs that cannot be
    compared.
    """
    graphs = [*rows, *columns]
    check_comparable(graphs)
    if not rows or not columns:
        return {}
    k, n = graphs[0].k, len(graphs[0])
    chance = chance_level(k, graphs[0].n_reference - graphs[0].self_excluded)
    reasons = [collapsed(graph) for graph in graphs]
    found: dict[tuple[int, int], Estimate] = {}
    for part in overlap_parts(graphs, cross_pairs(len(rows), len(columns)), threads=threads):
        means, errors = part.moments(iou_table(k), k)
        for (a, b), mean, error in zip(part.pairs.tolist(), means.tolist(), errors.tolist(), strict=True):
            reason = reasons[a] or reasons[b]
            found[a, b - len(rows)] = (
                undefined(reason) if reason else Estimate(mean, std_error=error, chance=chance, n_used=n)
            )
    return found
