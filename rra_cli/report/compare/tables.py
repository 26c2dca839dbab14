"""The tables of a comparison: columns, kinds and order of rows. CSV for people, Parquet beside it for programs.

`mean`, `sd`, `n`: over seeds (of pairs of models: `n_pairs` values of `n_a` and `n_b` seeds). `low`, `high`: interval
of the mean with the seeds as the units. `group` is a group's label; the columns that differ from group to group
(`augment`, `dataset.n_samples` ...) follow it. Columns are added at the end, never renamed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rra_cli.report.tables.frames import text_of

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]

_POINT = ("checkpoint", "epoch", "split")
_POOL = ("pool", "scale")
_SIZE = ("n_samples", "k")
_SUMMARY = ("mean", "sd", "n", "low", "high")
_PAIRS = ("mean", "sd", "n_pairs", "n_a", "n_b", "low", "high")
_SEARCH = ("chance", "engine", "recall", "reason")
_TEST = ("difference", "low", "high", "p", "n_a", "n_b", "paired", "reason")
_SAME_SEED = ("same_seed", "same_seed_n")

# Tables of layers in other models: nnls.csv, nnls_diagonal.csv ...
_PARTS = ("", "_diagonal", "_differences", "_models")

# name -> columns; where `group` is among them, the columns that tell groups apart follow it.
TABLES: dict[str, tuple[str, ...]] = {
    # Every folder that was found: the group it belongs to, or why it is left out.
    "runs": ("run", "group", "seed", "used", "reason"),
    # Every setting that is not the same in all runs.
    "groups": ("group", "n", "seeds", "setting", "value"),
    # What runs measured by themselves: a row a metric and layer. transfer: the other data set of a probe.
    "layers": (
        *("group", "metric", "transfer", *_POINT, "layer", "index", "depth", *_POOL, "subset", *_SIZE),
        *(*_SUMMARY, *_SEARCH),
    ),
    # What was logged over the epochs of training.
    "training": ("group", "metric", "epoch", *_SUMMARY),
    # Accuracies of training.jsonl after the last epoch, in [0, 1]; gap: train_clean_accuracy - test_accuracy.
    "accuracies": ("group", "metric", "epoch", *_SUMMARY, "reason"),
    # group_a - group_b: every group minus the reference (group_b), then every two of the others.
    "accuracy_differences": ("group_a", "group_b", "metric", "epoch", *_TEST),
    # group_a - group_b, where both measured the same thing with equal n_samples and k.
    "differences": (
        *("group_a", "group_b", "metric", "transfer", *_POINT, "layer", "index", *_POOL, "subset", *_SIZE),
        *_TEST,
    ),
    # Differences within one network: contrast `next layer` (layer other minus layer) or `train - test` (other: `test`).
    "contrasts": (
        *("group", "contrast", "other", "metric", "transfer", *_POINT, "layer", "index", *_POOL, *_SIZE),
        *(*_SUMMARY, "p", "reason"),
    ),
    "contrast_differences": (
        *("group_a", "group_b", "contrast", "other", "metric", "transfer", *_POINT, "layer", "index", *_POOL),
        *(*_SIZE, *_TEST),
    ),
    # Layer similarity between models: `within` a group over all its ordered pairs, `between` two over all pairs of
    # different seeds; same_seed: mean of the same_seed_n pairs of one seed. Of one run a group, both of one seed, that
    # pair is the mean.
    "nnls": (
        *("kind", "group_a", "group_b", *_POINT, "layer_a", "index_a", "layer_b", "index_b", *_POOL, *_SIZE),
        *(*_PAIRS, *_SEARCH, *_SAME_SEED),
    ),
    # The same of every layer with itself.
    "nnls_diagonal": (
        "kind",
        "group_a",
        "group_b",
        *_POINT,
        "layer",
        "index",
        "depth",
        *_POOL,
        *_SIZE,
        *_PAIRS,
        "chance",
        *_SAME_SEED,
        "reason",
    ),
    # Differences of those: of two groups, or of a group and its comparison with another.
    "nnls_differences": ("comparison_a", "comparison_b", *_POINT, "layer", "index", "depth", *_POOL, *_SIZE, *_TEST),
    # Every pair of models by itself; std_error: over the samples.
    "nnls_models": (
        *("run_a", "run_b", "group_a", "group_b", *_POINT, "layer_a", "layer_b", *_POOL, *_SIZE, "nnls", "std_error"),
    ),
    # Layer similarity within each model, over seeds.
    "nnls_intra": (
        *("group", *_POINT, "layer_a", "index_a", "layer_b", "index_b", *_POOL, *_SIZE, *_SUMMARY, "chance", "reason"),
    ),
    # group_a - group_b of it, of every two layers once.
    "nnls_intra_differences": (
        *("group_a", "group_b", "checkpoint", "split", "layer_a", "index_a", "layer_b", "index_b", *_POOL, *_SIZE),
        *_TEST,
    ),
    # The same four of every other metric that models were compared by (`--metric`).
    **{f"pairs{part}": () for part in _PARTS},  # columns: below
    # over: what the points are (`runs`, `layers`, `epochs`, `epochs>0`); group "" is all groups together.
    "correlations": (
        *("x", "y", "over", "group", "checkpoint", "split", "layer", *_POOL, *_SIZE, "n", "r", "p", "low", "high"),
        *("rho", "rho_p", "n_effective", "p_effective", "note"),
    ),
    # What they are correlations of, where two columns were asked for: a row a run and measured layer.
    "correlation_points": (
        *("x", "y", "group", "seed", *_POINT, "layer", "index", *_POOL, *_SIZE, "x_value", "y_value"),
    ),
    # Curves over pooling scales of two groups along the layers: over windows of equal side, or windows that leave maps
    # of equal side (scale_b is empty where those differ from layer to layer). An empty scale_a: mean of the n_curves
    # before.
    "scale_correlations": (
        *("group_a", "group_b", "metric", "checkpoint", "split", "pool", "over", "scale_a", "scale_b", "n_layers", "r"),
        "n_curves",
    ),
    # Volume elements and decision boundaries: a row a layer and quantity. inputs: groups of one number looked at the
    # same points. over: the units of the interval and of p (no difference): `seeds`, or lines, planes or samples of the
    # only run. ratio: exp(difference / directions). n_units: lines or planes of a run.
    "pullback": (
        *("group", "metric", "at", "inputs", "checkpoint", "epoch", "layer", "index", "n_inputs", "n_features"),
        *("directions", "quantity", *_SUMMARY, "p", "over", "n_units", "reason"),
    ),
    # group_a - group_b, where both looked at the same points, of volumes over equally many directions.
    "pullback_differences": (
        *("group_a", "group_b", "metric", "checkpoint", "epoch", "layer", "index", "quantity", *_TEST),
    ),
    # What was refused, and why.
    "refused": ("quantity", "group_a", "group_b", "split", "reason"),
}
for _part in _PARTS:
    _columns = ("similarity" if column == "nnls" else column for column in TABLES[f"nnls{_part}"])
    TABLES[f"pairs{_part}"] = ("metric", *_columns)
# Not written where they are empty.
OPTIONAL = frozenset(
    {"accuracies", "accuracy_differences", "contrasts", "contrast_differences", "pullback", "pullback_differences"}
    | {"nnls_intra", "nnls_intra_differences"}
    | {f"pairs{part}" for part in _PARTS}
)
WHOLE = frozenset(
    {"seed", "epoch", "index", "index_a", "index_b", "scale", "subset", "n_samples", "k", "n", "n_a", "n_b", "n_pairs"}
    | {"scale_a", "scale_b", "n_layers", "n_curves", "inputs", "n_inputs", "n_features", "directions", "n_units"}
    | {"same_seed_n"}
)
NUMBERS = frozenset(
    {"depth", "mean", "sd", "low", "high", "chance", "recall", "difference", "p", "nnls", "similarity", "std_error"}
    | {"r", "rho", "rho_p", "n_effective", "p_effective", "x_value", "y_value", "same_seed"}
)
# Long lists of pairs, for programs alone.
PARQUET_ONLY = frozenset({"nnls_models", "pairs_models"})


def columns_of(name: str, group_columns: Sequence[str]) -> list[str]:
    """The columns of a table in file order; a setting that has a column's name is called `config.NAME`."""
    columns = list(TABLES[name])
    if "group" not in columns or name not in ("layers", "training", "accuracies", "contrasts", "pullback"):
        return columns
    own = [column_name(column) for column in group_columns]
    at = columns.index("group") + 1
    return [*columns[:at], *own, *columns[at:]]


def is_written(name: str, frame: pd.DataFrame) -> bool:
    """Whether a table becomes a file, so that it may be linked."""
    return name not in OPTIONAL or len(frame) > 0


def column_name(setting: str) -> str:
    """What the column of a setting is called in tables."""
    return f"config.{setting}" if any(setting in columns for columns in TABLES.values()) else setting


def frame_of(rows: Sequence[Row], name: str, group_columns: Sequence[str] = ()) -> pd.DataFrame:
    """The rows as a frame with all columns of the table, of their kind: text ("" for nothing), Int64, float64."""
    import pandas as pd

    found: dict[str, Any] = {}
    for column in columns_of(name, group_columns):
        values = [row.get(column) for row in rows]
        if column in WHOLE:
            found[column] = pd.Series([pd.NA if value is None else value for value in values], dtype="Int64")
        elif column in NUMBERS:
            numbers = [float("nan") if value is None else float(value) for value in values]
            found[column] = pd.Series(numbers, dtype="float64") + 0.0  # -0.0 becomes 0.0: equal values, equal bytes
        else:
            found[column] = pd.Series([text_of(value) for value in values], dtype=object)
    return pd.DataFrame(found)


def encode_table(frame: pd.DataFrame, name: str) -> dict[str, bytes]:
    """The table's files by suffix; equal frames give equal bytes."""
    encoded = {"parquet": _parquet(frame)}
    if name not in PARQUET_ONLY:
        encoded["csv"] = _csv(frame)
    return encoded


def _csv(frame: pd.DataFrame) -> bytes:
    import pandas as pd

    def cell(value: Any) -> str:
        if isinstance(value, str):
            return value
        if pd.isna(value):
            return ""
        return repr(value) if isinstance(value, float) else str(value)  # the shortest text that reads back

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(frame.columns)
    writer.writerows(zip(*([cell(value) for value in frame[column].tolist()] for column in frame), strict=True))
    return text.getvalue().encode("utf-8")


def _parquet(frame: pd.DataFrame) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def array(column: str) -> pa.Array:
        if column in WHOLE or column in NUMBERS:
            kind = pa.int64() if column in WHOLE else pa.float64()
            return pa.Array.from_pandas(frame[column], type=kind)
        return pa.array(frame[column].tolist(), pa.string())

    # Built without pandas' metadata, which would name the versions that happened to write it.
    data = pa.table({str(column): array(str(column)) for column in frame})
    buffer = io.BytesIO()
    pq.write_table(data, buffer)
    return buffer.getvalue()
