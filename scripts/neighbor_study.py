"""What approximate search costs: the runs of `neighbor_study` at several numbers of samples, joined.

    rra run -m +experiment=neighbor_study dataset.n_samples=2500,5000
    python scripts/neighbor_study.py SWEEP [--images docs/images]      # the sweep's folder, or run folders one by one

Prints Markdown: a row per number of samples and engine over all compared layers, a row per layer and engine at the most
samples, and from where on approximate search pays by the committed cost model. --images draws recall by layer, error
by recall, and seconds by layer and by samples. Reads tables/engines.csv and search_times.csv of the runs. Of several
runs with the same samples, engine and layer the last one given counts. --without-times: leave out the times of these
numbers of samples, where the machine was not quiet.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rra_cli.core import files
from rra_cli.neighbors.auto import LEAST_NEIGHBORS, MORE_NEIGHBORS, WORTH_TRYING
from rra_cli.neighbors.cost_model import exact_seconds, nn_descent_seconds
from rra_cli.report.layer_axis import layer_ticks
from rra_cli.report.style import encode, figure, legend_line, line_style, styled
from rra_cli.report.tables.schema import EXACT, SEARCH_TIMES

KEY = ["n_samples", "search", "layer"]
METRICS = {"id_twonn": "ID error, %", "nncs": "NNCS error", "nnls": "NNLS error"}


def joined(folders: Sequence[Path]) -> pd.DataFrame:
    """A row per number of samples, engine and layer: recall, seconds, and value, exact value and error by metric."""
    parts = []
    for folder in folders:
        engines = pd.read_csv(
            folder / "tables" / "engines.csv",
            keep_default_na=False,
            na_values=dict.fromkeys(("value", "exact", "error"), ""),
        )
        wide = engines.pivot_table(index=KEY, columns="metric", values=["value", "exact", "error"], aggfunc="first")
        wide.columns = [f"{metric}_{kind}" for kind, metric in wide.columns]
        seconds = pd.read_csv(folder / SEARCH_TIMES, keep_default_na=False, na_values={"seconds": ""})
        parts.append(seconds.merge(wide.reset_index(), on=KEY, how="left"))
    rows = pd.concat(parts).drop_duplicates(KEY, keep="last")
    rows["id_twonn_error"] *= 100 / rows["id_twonn_exact"]
    rows["nnls_bias"] = rows["nnls_value"] - rows["nnls_exact"]
    return rows.sort_values(["n_samples", "index"], kind="stable")


def by_samples(rows: pd.DataFrame) -> pd.DataFrame:
    """Over the layers that an engine searched: mean and lowest recall, seconds beside exact search, worst errors."""
    cells = []
    for (n, search), here in rows[rows["search"] != EXACT].groupby(["n_samples", "search"], sort=False):
        exact = rows[(rows["n_samples"] == n) & (rows["search"] == EXACT)].set_index("layer")["seconds"]
        timed = here.set_index("layer")["seconds"]
        beside = exact.reindex(timed.index)
        cells.append(
            {
                "N": f"{n:,}",
                "k": str(here["k"].iloc[0]),
                "engine": str(search),
                "layers": str(len(here)),
                "recall, mean (lowest)": f"{here['recall'].mean():.3f} ({here['recall'].min():.3f})",
                "seconds": f"{timed.sum():.1f}" if timed.notna().all() else "",
                "exact, seconds": f"{beside.sum():.1f}" if beside.notna().all() else "",
                "ID, worst error, %": _worst(here["id_twonn_error"], "+.2f"),
                "NNCS, worst error": _worst(here["nncs_error"], "+.4f"),
                "NNLS, worst error (bias)": f"{here['nnls_error'].max():.4f} ({_worst(here['nnls_bias'], '+.4f')})",
            }
        )
    return pd.DataFrame(cells)


def by_layer(rows: pd.DataFrame) -> pd.DataFrame:
    """The same layer by layer, for the largest number of samples."""
    rows = rows[rows["n_samples"] == rows["n_samples"].max()]
    compared = set(rows.loc[rows["search"] != EXACT, "layer"])
    cells = []
    for _, row in rows[rows["layer"].isin(compared)].iterrows():
        exact = row["search"] == EXACT
        cells.append(
            {
                "layer": str(row["layer"]),
                "features": f"{row['n_features']:,}",
                "engine": str(row["search"]),
                "started from": str(row["start"]),
                "recall": f"{row['recall']:.4f}",
                "seconds": f"{row['seconds']:.1f}" if row["seconds"] == row["seconds"] else "",
                "ID error, %": "" if exact else f"{row['id_twonn_error']:+.2f}",
                "NNCS error": "" if exact else f"{row['nncs_error']:+.4f}",
                "NNLS error": "" if exact else f"{row['nnls_error']:.4f}",
                "NNLS bias": "" if exact else f"{row['nnls_bias']:+.4f}",
            }
        )
    return pd.DataFrame(cells)


def pays_from(n_features: int, k: int) -> int | None:
    """The first of round numbers of samples for which `neighbors=auto` takes approximate search; None up to 5 million.

    By the committed cost model, compilation included: an estimate, measured nowhere here.
    """
    width = max(LEAST_NEIGHBORS, k + MORE_NEIGHBORS)
    for n in (int(m * 10**e) for e in (4, 5, 6) for m in (1, 1.5, 2, 3, 5, 7)):
        if nn_descent_seconds(n, n_features, k, n_neighbors=width) <= WORTH_TRYING * exact_seconds(n, n_features, k):
            return n
    return None


def cost_model() -> pd.DataFrame:
    """Where approximate search begins to pay by the cost model, by features and k."""
    rows = []
    for d in (64, 1024, 4096, 16384):
        found = {f"k = {k}": pays_from(d, k) for k in (15, 50, 150)}
        rows.append({"features": f"{d:,}", **{k: "–" if n is None else f"{n:,}" for k, n in found.items()}})
    return pd.DataFrame(rows)


def draw(rows: pd.DataFrame, searches: Sequence[str], folder: Path) -> None:
    """`neighbor_study_{recall,error,time,samples}.png`; by layer: at the number with most layers compared."""
    compared = rows[rows["search"] != EXACT].groupby("n_samples")["layer"].nunique()
    most = rows[rows["n_samples"] == compared[compared == compared.max()].index.max()]
    layers = list(dict.fromkeys(most.loc[most["search"] != EXACT, "layer"]))
    with styled():
        made, (axes,) = figure(2.4)
        for search in searches:
            _line(axes, most, search, layers, "recall", searches)
        axes.set_ylabel(f"recall, N = {most['n_samples'].iloc[0]:,}")
        _finish(made, axes, layers, searches)
        _save(made, folder / "neighbor_study_recall.png")

        if most["seconds"].notna().any():
            made, (axes,) = figure(2.4)
            for search in (EXACT, *searches):
                _line(axes, most, search, layers, "seconds", searches)
            axes.set_yscale("log")
            axes.set_ylabel(f"seconds, N = {most['n_samples'].iloc[0]:,}")
            _finish(made, axes, layers, _timed(most, searches), searches)
            _save(made, folder / "neighbor_study_time.png")

        made, panels = figure(4.0, rows=len(METRICS), sharex=True)
        for axes, (metric, label) in zip(panels, METRICS.items(), strict=True):
            for search in searches:
                here = rows[rows["search"] == search]
                look = _look(search, searches) | {"linestyle": "none"}
                axes.plot(here["recall"], here[f"{metric}_error"], **look)
            axes.axhline(0.0, color="0.45", linewidth=0.9, linestyle=(0, (1, 1)), zorder=1)
            axes.grid(axis="y", color="0.88", linewidth=0.5)
            axes.set_ylabel(label)
        panels[-1].set_xlabel("recall")
        _legend(made, searches, searches)
        _save(made, folder / "neighbor_study_error.png")

        shared = _at_all_samples(rows)
        if shared is not None:
            made, (axes,) = figure(2.2)
            for search in (EXACT, *searches):
                total = shared[shared["search"] == search].groupby("n_samples")["seconds"].sum()
                axes.plot(total.index, total.to_numpy(), **_look(search, searches))
            axes.set_xscale("log")
            axes.set_yscale("log")
            ticks = sorted(shared["n_samples"].unique())
            axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
            axes.set_xticks([], minor=True)
            axes.set_xlabel("samples")
            axes.set_ylabel(f"seconds, {shared['layer'].nunique()} layers")
            axes.grid(axis="y", color="0.88", linewidth=0.5)
            _legend(made, _timed(shared, searches), searches)
            _save(made, folder / "neighbor_study_samples.png")


def _at_all_samples(rows: pd.DataFrame) -> pd.DataFrame | None:
    """The timed rows of layers and engines that were timed at every number of samples; None where there is one only."""
    timed = rows[rows["seconds"].notna()]
    numbers = timed["n_samples"].nunique()
    counts = timed.groupby(["layer", "search"])["n_samples"].transform("nunique")
    timed = timed[counts == numbers]
    compared = set(timed.loc[timed["search"] != EXACT, "layer"])
    timed = timed[timed["layer"].isin(compared)]
    return timed if numbers > 1 and len(timed) else None


def _timed(rows: pd.DataFrame, searches: Sequence[str]) -> list[str]:
    """The searches of which there are times."""
    there = set(rows.loc[rows["seconds"].notna(), "search"])
    return [search for search in (EXACT, *searches) if search in there]


def _look(search: str, searches: Sequence[str]) -> dict[str, object]:
    return line_style(0 if search == EXACT else 1 + list(searches).index(search), 0, False).keywords()


def _line(axes, rows, search, layers, column, searches) -> None:  # type: ignore[no-untyped-def]
    values = rows[rows["search"] == search].set_index("layer").reindex(layers)[column]
    if values.notna().any():
        axes.plot(np.arange(len(layers)), values.to_numpy(float), **_look(search, searches))


def _finish(made, axes, layers, shown, searches=None) -> None:  # type: ignore[no-untyped-def]
    axes.grid(axis="y", color="0.88", linewidth=0.5)
    axes.set_xlim(-0.5, len(layers) - 0.5)
    layer_ticks(axes, layers)
    _legend(made, shown, shown if searches is None else searches)


def _legend(made, shown, searches) -> None:  # type: ignore[no-untyped-def]
    handles = [legend_line(search, **_look(search, searches)) for search in shown]
    made.legend(handles=handles, loc="outside lower center", ncols=3, borderaxespad=0.1)


def _save(made, path: Path) -> None:  # type: ignore[no-untyped-def]
    files.write_bytes(path, encode(made)["png"])


def _worst(values: pd.Series, form: str) -> str:
    found = values.dropna()
    return format(found.loc[found.abs().idxmax()], form) if len(found) else ""


def markdown(title: str, table: pd.DataFrame) -> str:
    """A pipe table under a line of text."""
    head = f"| {' | '.join(table.columns)} |\n|{'---|' * len(table.columns)}"
    return "\n".join([f"\n{title}\n", head, *(f"| {' | '.join(row)} |" for row in table.to_numpy())])


def main() -> None:
    parser = argparse.ArgumentParser(description="Joins runs of neighbor_study.")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--without-times", nargs="*", type=int, default=[], metavar="N")
    given = parser.parse_args()
    folders = [path.parent.parent for folder in given.folders for path in sorted(folder.glob("**/tables/engines.csv"))]
    rows = joined(folders).reset_index(drop=True)
    rows.loc[rows["n_samples"].isin(given.without_times), "seconds"] = float("nan")
    searches = [search for search in dict.fromkeys(rows["search"]) if search != EXACT]
    print(markdown("All compared layers", by_samples(rows)))
    print(markdown(f"Layer by layer, N = {rows['n_samples'].max():,}", by_layer(rows)))
    print(
        markdown("Samples from which neighbors=auto takes approximate search (cost model, not measured)", cost_model())
    )
    if given.images is not None:
        draw(rows, searches, given.images)


if __name__ == "__main__":
    main()
