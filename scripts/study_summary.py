"""What the pages of docs/ say of a run and its own tables do not print as such, as Markdown tables.

    python scripts/study_summary.py RUN [RUN ...] [--split test] [--layers input,neck,logits] [--digits 2]

RUN is the folder of a finished run; printed is what its tables have, of the last checkpoint:

invariance.csv       a metric of altered sets, by layer and level, or by layer and alteration; the largest standard
                     error, the range of chance levels, the largest difference between the splits
pullback_points.csv  of every checkpoint: lines and planes that meet a boundary (the prediction changes); near and far
                     from boundaries the share of points of negative curvature, and the median of its size
nnls.csv, pairs.csv  each layer with the one before it, with the last one, and with itself at later checkpoints
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pandas as pd

ALTERED = ("copy_distance", "copy_nnls", "nncs", "id_twonn")
SAME = 1e-9  # a pair of layers has one value in both directions up to this


def read(folder: Path, name: str) -> pd.DataFrame | None:
    """A table of a run, None where the run has none."""
    path = folder / "tables" / f"{name}.csv"
    return pd.read_csv(path, keep_default_na=False, na_values=[""]) if path.exists() else None


def markdown(frame: pd.DataFrame, title: str, digits: int) -> str:
    """A frame of numbers; missing ones are empty."""
    lines = [f"| {title} | " + " | ".join(map(str, frame.columns)) + " |", "|---" * (frame.shape[1] + 1) + "|"]
    for label, row in zip(frame.index, frame.to_numpy(float), strict=True):
        cells = ["" if value != value else f"{value:.{digits}f}" for value in row]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_layer(frame: pd.DataFrame, rows: str, value: str, layers: Sequence[str]) -> pd.DataFrame:
    """rows x layers, both in the order of the table; of the layers named, where some are."""
    table = frame.pivot_table(index=rows, columns="layer", values=value, sort=False)
    order = list(frame.sort_values("index")["layer"].unique())
    return table[[layer for layer in order if not layers or layer in layers]]


def altered(folder: Path, split: str, layers: Sequence[str], digits: int) -> Iterator[str]:
    """Of every metric: a table for each alteration of several levels, and one of all that have none."""
    table = read(folder, "invariance")
    if table is None:
        return
    table = table[table["checkpoint"] == "last"]
    for metric in (name for name in ALTERED if name in set(table["metric"])):
        here = table[(table["metric"] == metric) & (table["split"] == split)]
        levels = here.groupby("kind")["strength"].transform("nunique") > 1
        has_clean = not metric.startswith("copy_") and here["clean"].notna().any()
        for kind, some in here[levels].groupby("kind", sort=False):
            values = by_layer(some, "strength", "value", layers).T
            values.columns = [f"{level:g}" for level in values.columns]
            if has_clean:
                values.insert(0, "unaltered", some.groupby("layer")["clean"].first())
            yield markdown(values, f"{metric}, {split}, {kind}", digits)
        single = here[~levels]
        if len(single):
            values = by_layer(single, "alteration", "value", layers)
            if has_clean:
                values.loc["unaltered"] = single.groupby("layer")["clean"].first()[values.columns]
            yield markdown(values, f"{metric}, {split}", digits)
        both = table[table["metric"] == metric]
        both = both.pivot_table(index=["alteration", "layer"], columns="split", values="value")
        facts = [f"standard errors up to {here['std_error'].max():.4f}"] if here["std_error"].notna().any() else []
        if here["chance"].notna().any():
            facts.append(f"chance levels {here['chance'].min():.4f} to {here['chance'].max():.4f}")
        if both.shape[1] == 2:
            facts.append(f"training and test samples differ by {both.diff(axis=1).iloc[:, 1].abs().max():.4f} at most")
        yield f"{metric}: " + "; ".join(facts)


def boundaries(folder: Path) -> Iterator[str]:
    """Units that meet a boundary, and curvature on its two sides; every checkpoint, inside its anchors only."""
    table = read(folder, "pullback_points")
    if table is None:
        return
    table = table[table["inside"] == 1].assign(size=table["curvature"].abs(), negative=table["curvature"] < 0)
    lines = [
        "| checkpoint, metric, layer | units | at a boundary | negative, all | near | far | median size, near | far |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, some in table.groupby(["checkpoint", "metric", "layer"], sort=False):
        meet = sum(len(set(unit["prediction"])) > 1 for _, unit in some.groupby("unit"))
        cells = [", ".join(map(str, name)), str(some["unit"].nunique()), str(meet)]
        bent = some[some["curvature"].notna()]
        if len(bent):
            sides = bent.groupby("side")[["negative", "size"]].agg({"negative": "mean", "size": "median"})
            cells.append(f"{bent['negative'].mean():.3f}")
            cells += [f"{sides[column].get(side, float('nan')):.3f}" for column in sides for side in ("near", "far")]
        lines.append("| " + " | ".join(cells + [""] * (8 - len(cells))) + " |")
    yield "\n".join(lines)


def pairs(folder: Path, split: str) -> pd.DataFrame | None:
    """NNLS and all other metrics of pairs of layers of one split: one table, with a column `metric`."""
    nnls, others = read(folder, "nnls"), read(folder, "pairs")
    if nnls is not None:
        nnls = nnls.rename(columns={"nnls": "value"}).assign(metric="nnls")
    tables = [table for table in (nnls, others) if table is not None and len(table)]
    if not tables:
        return None
    table = pd.concat(tables).drop_duplicates()  # pairs.csv has the rows of nnls.csv, too
    table = table[(table["split_a"] == split) & (table["split_b"] == split)]
    return table[(table["pool_a"] == table["pool_b"]) & (table["pool_a"] == "none")]


def along(folder: Path, split: str, digits: int) -> Iterator[str]:
    """Each layer with the one before it and with the last one, in both directions where they differ."""
    table, layers = pairs(folder, split), read(folder, "layers")
    if table is None or layers is None:
        return
    order = list(layers[layers["pool"] == "none"].sort_values("index")["layer"].unique())
    at_end = table[(table["checkpoint_a"] == "last") & (table["checkpoint_b"] == "last")]
    steps = {"with the layer before": list(pairwise(order))}
    steps["with the last layer"] = [(layer, order[-1]) for layer in order[:-1]]
    for title, ends in steps.items():
        rows: dict[str, list[float]] = {}
        for metric, some in at_end.groupby("metric", sort=False):
            values = some.set_index(["layer_a", "layer_b"])["value"].to_dict()
            there = [values.get(end, float("nan")) for end in ends]
            back = [values.get(end[::-1], float("nan")) for end in ends]
            rows[str(metric)] = there
            if any(abs(a - b) > SAME for a, b in zip(there, back, strict=True)):
                rows[f"{metric}, backwards"] = back
        columns = [b if "before" in title else a for a, b in ends]
        yield markdown(pd.DataFrame.from_dict(rows, orient="index", columns=columns), title, digits)


def over_time(folder: Path, split: str, digits: int) -> Iterator[str]:
    """Each layer with itself at a later checkpoint."""
    table = pairs(folder, split)
    if table is None:
        return
    table = table[(table["checkpoint_a"] != table["checkpoint_b"]) & (table["layer_a"] == table["layer_b"])]
    for metric, some in table.groupby("metric", sort=False):
        named = some.assign(step=some["checkpoint_a"] + " to " + some["checkpoint_b"])
        values = named.pivot_table(index="layer_a", columns="step", values="value", sort=False)
        yield markdown(values, f"{metric}, {split}", digits)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the tables of every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--split", default="test", help="train or test (default)")
    parser.add_argument("--layers", default="", help="columns of tables of alterations, by commas; all if not given")
    parser.add_argument("--digits", type=int, default=2, help="behind the point (2)")
    given = parser.parse_args(argv)
    for folder in given.runs:
        if not (folder / "tables").is_dir():
            parser.error(f"{folder} has no tables: give the folder of a finished run")
        print(f"\n{folder.name}")
        layers = [name for name in given.layers.split(",") if name]
        for text in (
            *altered(folder, given.split, layers, given.digits),
            *boundaries(folder),
            *along(folder, given.split, given.digits),
            *over_time(folder, given.split, given.digits),
        ):
            print(f"\n{text}")


if __name__ == "__main__":
    main()
