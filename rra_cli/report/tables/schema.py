"""What every table holds: its columns in file order, and the columns that make its rows unique.

These names are a contract with whoever reads the tables: columns are added at the end, never renamed or moved.

`k` is in every table the number of neighbours that was asked for (`neighbors.k`, or its default), so that rows of
different tables meet; a metric may read fewer of them (TwoNN two, whatever k is). Probes read no graph: their rows of
`metrics` hold the training samples that vote (1-NN: 1), and nothing where none do.

`dataset` is empty in the rows of the experiment's own data set, and names one of `transfer` in those of another; rows
of `layers` have no k there, as no graphs are made. Probes, which are fitted to the training split, stand in rows of
`test`.
"""

from __future__ import annotations

from dataclasses import dataclass

from rra_cli.report.tables.schema_graphs import GRAPH_TEXT, GRAPH_WHOLE, GRAPHS
from rra_cli.report.tables.schema_pullback import PULLBACK, PULLBACK_TEXT, PULLBACK_WHOLE
from rra_cli.report.tables.schema_samples import SAMPLES, SAMPLES_TEXT, SAMPLES_WHOLE

COMMON = ("checkpoint", "epoch", "split", "layer", "index", "pool", "scale", "subset", "n_samples")
# What tells one measured layer from another; `index` and `epoch` follow from `layer` and `checkpoint`.
_LAYER_KEY = ("checkpoint", "split", "layer", "pool", "scale", "subset", "n_samples")
_SIDE = ("model", "checkpoint", "split", "layer", "pool", "scale")
PAIR = tuple(f"{column}_a" for column in _SIDE) + tuple(f"{column}_b" for column in _SIDE)

# Kinds of columns; every other one holds float64, with an empty cell for NaN.
WHOLE = frozenset(
    {"epoch", "index", "scale", "scale_a", "scale_b", "subset", "n_samples", "n_features", "k", "n_used", "sample_id"}
    | {
        "rank",
        "block_samples",
        "neighbor_rank",
        "blocks",
        "at_least",
        "height",
        "width",
        "best_scale",
        "window",
        "n_layers",
        "n_directions",
    }
    | PULLBACK_WHOLE
    | SAMPLES_WHOLE
    | GRAPH_WHOLE
)
# How the graph was searched that the row's numbers rest on, and its measured recall (1 where it is exact).
SEARCH = ("engine", "recall")
SEARCH_PAIR = tuple(f"{column}_{side}" for side in ("a", "b") for column in SEARCH)
TEXT = (
    frozenset({"checkpoint", "split", "layer", "pool", "metric", "reason", "stage", *PAIR})
    | {"engine", "engine_a", "engine_b", "search", "start", "dataset", "level", "among", "best_pool", "as_good"}
    | {"alteration", "kind", "alter", "decomposition"}
    | PULLBACK_TEXT
    | SAMPLES_TEXT
    | GRAPH_TEXT
) - WHOLE
# Behind the columns of any table where all that was measured had been altered (`alter`): by what.
ALTER = "alter"
# Behind the columns of the tables of metrics where they were asked for (`metrics.intervals`, `metrics.null_test`): ends
# of the interval; mean and standard deviation of the values of permuted data, and the value's p-value among them.
UNCERTAINTY = ("low", "high", "null_mean", "null_sd", "p_value")
# Of those, what tables have that no null distribution is made for.
INTERVAL = UNCERTAINTY[:2]
# The values of `pool` that are windows over maps: scales of a layer.
WINDOWS = ("avg", "max")
# What compared engines are held against; none of them has this name.
EXACT = "exact"
# Class labels: whole numbers where all of them are, names otherwise.
LABELS = frozenset({"class", "neighbor_class"})


@dataclass(frozen=True)
class Table:
    """One kind of table.

    columns: in file order. key: columns whose values no two rows share. optional: columns that are filled with empty
    cells where the writer has none. open: further columns (one per metric) follow `columns`, in the writer's order.
    trailing: come last, where the writer has them. measured: the column whose empty cells need a `reason` in their row.
    """

    columns: tuple[str, ...]
    key: tuple[str, ...]
    optional: frozenset[str] = frozenset()
    open: bool = False
    trailing: tuple[str, ...] = ()
    measured: str | None = None


TABLES = {
    # One row per layer, one column per metric; `stage` names the group of layers that a layer belongs to.
    "layers": Table(
        (*COMMON, "n_features", "k"),
        (*_LAYER_KEY, "k", "dataset"),
        open=True,
        trailing=("stage", *SEARCH, "dataset"),
    ),
    # Tidy: one row per layer and metric.
    "metrics": Table(
        (*COMMON, "k", "metric", "value", "std_error", "chance", "n_used", "reason", "engine", "recall", "dataset"),
        (*_LAYER_KEY, "k", "metric", "engine", "dataset"),
        optional=frozenset({"dataset"}),
        trailing=UNCERTAINTY,
        measured="value",
    ),
    # One row per ordered pair of layers of one checkpoint, the diagonal included; and one per layer and earlier
    # checkpoint (a) with the same layer at the last one, and at the next one (b).
    "nnls": Table(
        (*PAIR, "subset", "n_samples", "k", "nnls", "chance", "std_error", "reason", *SEARCH_PAIR),
        (*PAIR, "subset", "n_samples", "k"),
        optional=frozenset({"chance", "std_error", "reason", *SEARCH_PAIR}),
        trailing=UNCERTAINTY,
        measured="nnls",
    ),
    # Tidy: all metrics of pairs of layers, one row per ordered pair and metric; written where there is one beside NNLS,
    # whose rows are those of `nnls`.
    "pairs": Table(
        (*PAIR, "subset", "n_samples", "k", "metric", "value", "chance", "std_error", "reason", *SEARCH_PAIR),
        (*PAIR, "subset", "n_samples", "k", "metric"),
        optional=frozenset(SEARCH_PAIR),
        trailing=UNCERTAINTY,
        measured="value",
    ),
    # SVCCA's directions: a row a layer and metric. held: fraction of the variance that they hold; residual: 1 - held.
    # decomposition: exact, or randomised, which may keep a few more of them than are needed.
    "svcca_bases": Table(
        (*COMMON, "metric", "n_features", "n_directions", "held", "residual", "decomposition"),
        (*_LAYER_KEY, "metric"),
    ),
    # Quantiles of the ratio of each sample's second to its first neighbour distance.
    "mu": Table((*COMMON, "quantile", "mu", *SEARCH), (*_LAYER_KEY, "quantile"), optional=frozenset(SEARCH)),
    # Eigenvalues of the covariance of a layer, the largest at rank 1; beyond rank 64 some of them, evenly in log(rank).
    "spectra": Table((*COMMON, "metric", "rank", "eigenvalue"), (*_LAYER_KEY, "metric", "rank")),
    "per_class": Table(
        (*COMMON, "k", "metric", "class", "value", "chance", "n_used", *SEARCH),
        (*_LAYER_KEY, "k", "metric", "class"),
        optional=frozenset(SEARCH),
    ),
    # Which classes the neighbours of a class belong to; fractions of a class add up to 1.
    "class_neighbors": Table(
        (*COMMON, "k", "class", "neighbor_class", "fraction", *SEARCH),
        (*_LAYER_KEY, "k", "class", "neighbor_class"),
        optional=frozenset(SEARCH),
    ),
    # One row per compared engine (`search`: its name), layer and metric. error: value - exact; of a metric of pairs,
    # whose value and exact are means over the layer's pairs, the mean of |value - exact|. start: the layer whose graph
    # the search started from.
    "engines": Table(
        (*COMMON, "k", "search", "metric", "value", "exact", "error", "reason", "start", *SEARCH),
        (*_LAYER_KEY, "k", "search", "metric"),
        measured="error",
    ),
}
# Where layers were pooled over windows: a row a layer, scale and metric of layers. height, width: of the map that is
# left, empty for a layer without maps. unpooled: the layer's value without pooling. local: unpooled - value, what
# pooling takes away (at scale 0: the local part); its error is as if both were independent.
_SCALES = Table(
    (
        *(*COMMON, "k", "metric", "height", "width", "value", "std_error", "unpooled", "local", "local_std_error"),
        *("reason", *SEARCH),
    ),
    (*_LAYER_KEY, "k", "metric"),
    measured="value",
)
# The scale of the largest NNCS: a row a layer, or a stage (of the mean over its layers). among: windows of `avg`, of
# `max`, or `all`, always beside no pooling; of equal values the finest. height, width: empty where they differ within a
# stage. as_good: other scales within two standard errors of the best.
_BEST_SCALES = Table(
    (
        *("checkpoint", "epoch", "split", "level", "stage", "layer", "index", "subset", "n_samples", "k", "metric"),
        *("among", "n_layers", "best_pool", "best_scale", "height", "width", "value", "std_error", "unpooled"),
        *("as_good", "reason"),
    ),
    ("checkpoint", "split", "level", "stage", "layer", "subset", "n_samples", "k", "metric", "among"),
    optional=frozenset({"best_scale", "height", "width", "value", "std_error", "unpooled", "as_good"}),
    measured="value",
)
# How the curves of a metric along the layers agree that windows of equal side, and so maps of equal side, give by their
# means (a) and their maxima (b). r: Pearson's.
_SCALE_CORRELATIONS = Table(
    (
        *("checkpoint", "epoch", "split", "subset", "n_samples", "k", "metric", "pool_a", "pool_b", "window"),
        *("n_layers", "r", "reason"),
    ),
    ("checkpoint", "split", "subset", "n_samples", "k", "metric", "pool_a", "pool_b", "window"),
    measured="r",
)
# A curve over scales of the intrinsic dimension: a row a layer, metric and scale. block_samples: of the disjoint random
# blocks; value is their mean, sd over `blocks` of them. neighbor_rank: of the farther neighbour; radius: the mean
# distance to it.
_DIMENSION_SCALES = Table(
    (*COMMON, "k", "metric", "block_samples", "neighbor_rank", "blocks", "radius", "value", "sd", "std_error", *SEARCH),
    (*_LAYER_KEY, "k", "metric", "block_samples", "neighbor_rank"),
    trailing=INTERVAL,
)
# Hubness: the fraction of samples that are among the k nearest neighbours of at least so many others.
_OCCURRENCES = Table((*COMMON, "k", "metric", "at_least", "share", *SEARCH), (*_LAYER_KEY, "k", "metric", "at_least"))
TABLES |= {name: Table(**table) for name, table in (PULLBACK | SAMPLES | GRAPHS).items()}
# Altered copies of the measured samples (`invariance`): a row a layer, alteration and metric. kind, strength: of the
# alteration. copy_*: the copies held against their samples; other metrics: of the altered set. clean: unaltered.
_INVARIANCE = Table(
    (
        *(*COMMON, "k", "alteration", "kind", "strength", "metric", "value", "std_error", "chance", "clean", "n_used"),
        *("reason", *SEARCH),
    ),
    (*_LAYER_KEY, "k", "alteration", "metric"),
    trailing=INTERVAL,
    measured="value",
)
TABLES |= {"invariance": _INVARIANCE}
TABLES |= {"dimension_scales": _DIMENSION_SCALES, "occurrences": _OCCURRENCES}
TABLES |= {"scales": _SCALES, "best_scales": _BEST_SCALES, "scale_correlations": _SCALE_CORRELATIONS}

# What every search of a compared layer took, beside the tables, as equal runs have other times: a row a graph.
SEARCH_TIMES = "search_times.csv"
SEARCH_TIMES_COLUMNS = (*COMMON, "n_features", "k", "search", "start", *SEARCH, "seconds")

# Values by sample, `per_sample/<metric>.parquet`: of a metric of layers, and of one of pairs of layers.
PER_SAMPLE = Table(
    ("sample_id", *COMMON, "k", "value", *SEARCH, "dataset"),
    ("sample_id", *_LAYER_KEY, "k", "dataset"),
    optional=frozenset({*SEARCH, "dataset"}),
)
PER_SAMPLE_PAIRS = Table(
    ("sample_id", *PAIR, "subset", "n_samples", "k", "value", *SEARCH_PAIR),
    ("sample_id", *PAIR, "subset", "n_samples", "k"),
    optional=frozenset(SEARCH_PAIR),
)

# Every finished run has these.
REQUIRED = ("layers", "metrics")


def metric_columns(columns: tuple[str, ...]) -> tuple[str, ...]:
    """The metrics among the columns of layers.csv: what lies between the fixed ones, without chance levels."""
    layers = TABLES["layers"]
    extra = [column for column in columns if column not in (*layers.columns, *layers.trailing, ALTER)]
    return tuple(column for column in extra if column.removesuffix("_chance") not in set(extra) - {column})
