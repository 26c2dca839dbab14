"""A study of sample sizes in a few tables, beside the RRA thesis (Hryniowski 2024, ch. 5).

    python scripts/sample_summary.py RUN [SPLIT]      # run folder of rra_samples_cifar10 or rra_samples_cifar10_small

Prints Markdown: ID by layer and N, the law of μ, NNCS and NNLS by N and k, NNLS_SIM; of the last checkpoint.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd


def table(folder: Path, name: str, split: str) -> pd.DataFrame:
    frame = pd.read_csv(folder / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])
    return frame[(frame["split"] == split) & (frame["checkpoint"] == "last") & (frame["pool"] == "none")]


def show(frame: pd.DataFrame, title: str, digits: int) -> None:
    names = [f"{name:g}" if isinstance(name, float) else str(name) for name in frame.columns]
    print(f"\n| {title} | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
    for label, row in frame.iterrows():
        cells = [f"{value:.{digits}f}" if np.isfinite(value) else "" for value in row.to_numpy(float)]
        print(f"| {label} | " + " | ".join(cells) + " |")


def law(samples: pd.DataFrame, mu: pd.DataFrame) -> pd.DataFrame:
    """By layer, of the largest N: the share of μ up to 1.05, and how far the distribution is from the fitted law."""
    largest, rows = samples["n_samples"].max(), {}
    for (index, layer), found in mu[mu["n_samples"] == largest].groupby(["index", "layer"]):
        at = (samples["metric"] == "id_twonn") & (samples["n_samples"] == largest) & (samples["layer"] == layer)
        dimension = float(samples.loc[at, "value"].iloc[0])
        levels, values = found["quantile"].to_numpy(), found["mu"].to_numpy()
        distance = np.abs(levels - (1 - values**-dimension)).max()
        share, expected = np.interp(1.05, values, levels), 1 - 1.05**-dimension
        rows[f"{index} {layer}"] = {"share ≤ 1.05": share, "by the law": expected, "largest distance": distance}
        starts = np.linspace(0, 0.9, 2001)  # of the shortest stretch that holds a tenth of the ratios
        ends, begins = np.interp(starts + 0.1, levels, values), np.interp(starts, levels, values)
        rows[f"{index} {layer}"]["densest tenth from"] = begins[np.argmin(ends - begins)]
        rows[f"{index} {layer}"] |= {f"q{q:g}": np.interp(q, levels, values) for q in (0.25, 0.5, 0.9)}
    return pd.DataFrame(rows).T


def main() -> None:
    folder, split = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "train"
    samples, pairs, sim = (table(folder, name, split) for name in ("samples", "samples_nnls", "nnls_sim"))
    dimension = samples[samples["metric"] == "id_twonn"]
    show(dimension.pivot_table(index=["index", "layer"], columns="n_samples", values="value"), "ID at N", 1)
    show(law(samples, table(folder, "samples_mu", split)), "μ, largest N", 3)
    purity = samples[samples["metric"] == "nncs"]
    for size in sorted(purity["n_samples"].unique()):
        here = purity[purity["n_samples"] == size]
        show(here.pivot_table(index=["index", "layer"], columns="k", values="value"), f"NNCS, N = {size}, k", 3)
    near = pairs[pairs["index_b"] - pairs["index_a"] == 1]
    show(near.pivot_table(index="n_samples", columns="k", values="nnls"), "NNLS of consecutive layers, N", 3)
    apart = pairs[pairs["layer_a"] != pairs["layer_b"]].groupby(["layer_a", "layer_b", "k"])["nnls"].agg(np.ptp)
    print(f"\nNNLS of sizes at equal k: at most {apart.max():.3f} apart ({', '.join(map(str, apart.idxmax()))})")
    largest = sim[(sim["fixed"] == "n_samples") & (sim["n_samples_a"] == sim["n_samples_a"].max())]
    show(largest.pivot_table(index="k_a", columns="k_b", values="bernoulli"), "NNLS_SIM, largest N, k", 4)
    for fixed, where in sim.groupby("fixed"):
        print(f"\nNNLS_SIM at fixed {fixed}")
        ends = where["basis_a"].eq("definition") | where["basis_b"].eq("definition")
        for name, some in (("between graphs", where[~ends]), ("with k = N - 1", where[ends])):
            for definition in ("bernoulli", "unnormalised"):
                if len(some):
                    low, high = some[definition].min(), some[definition].max()
                    print(f"- {name}, {definition}: {low:.2e} to {high:.2e} ({len(some)} pairs)")


if __name__ == "__main__":
    main()
