"""What `activations.reduce` costs: ID, NNCS and NNLS of projected layers beside those of the whole ones.

    rra run -m +experiment=rra_cifar10_small 'activations.reduce=null,256,1024,4096' \\
        'activations.reduce_seed=range(3)' 'dataset.splits=[test]' 'activations.checkpoints=[last]'
    python scripts/reduce_error.py SWEEP           # the sweep's folder, or its run folders one by one

Prints a Markdown table for each metric: a row per layer, the value of the whole layer, and mean ± sd of the difference
over the projection's seeds. "Neighbours kept" is the NNLS of the projected layer with the whole one. Reads the runs'
tables and the graphs in their store.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from rra_cli.config.bind import bind
from rra_cli.core.store import Store
from rra_cli.metrics import nnls
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.stages.lay_out import lay_out

Groups = Mapping[int, Sequence["Run"]]


class Run:
    """One finished run: its last checkpoint on test samples."""

    def __init__(self, folder: Path) -> None:
        config = yaml.safe_load((folder / "config.yaml").read_text())
        self.experiment = bind({key: value for key, value in config.items() if key != "experiment"})
        self.reduce = self.experiment.activations.reduce
        layers = pd.read_csv(folder / "tables" / "layers.csv")
        self.layers = layers[(layers["checkpoint"] == "last") & (layers["split"] == "test")].set_index("layer")
        pairs = pd.read_csv(folder / "tables" / "nnls.csv")
        pairs = pairs[(pairs["checkpoint_a"] == "last") & (pairs["split_a"] == "test")]
        names = self.layers.index
        self.nnls = pairs.pivot_table(index="layer_a", columns="layer_b", values="nnls").loc[names, names]

    def graphs(self) -> dict[str, NeighborGraph]:
        """The graph of every layer, from the store."""
        store, found = Store(self.experiment.store_root), {}
        for stage in lay_out(self.experiment, read_only=True).graphs:
            if (stage.point.checkpoint.label, stage.point.split) == ("last", "test"):
                graph = stage.load(store, stage.k)[0]
                assert graph is not None, stage.title
                found[stage.point.layer] = graph
        return found


def differences(whole: Run, groups: Groups, value: Callable[[Run, str], float], *, relative: bool) -> pd.DataFrame:
    """Layers x dimensions: mean ± sd over seeds of the difference to the whole layer (in percent where relative).

    Empty where a layer has no more features than that, so that nothing was projected.
    """
    rows = {}
    for layer in whole.layers.index:
        true = value(whole, layer)
        cells = {"features": f"{whole.layers['n_features'][layer]:,}", "whole": f"{true:.3g}"}
        for dimensions, runs in groups.items():
            off = np.array([value(run, layer) - true for run in runs]) * (100 / true if relative else 1)
            projected = runs[0].layers["n_features"][layer] < whole.layers["n_features"][layer]
            cells[f"{dimensions:,}"] = spread(off, "%" if relative else "") if projected else ""
        rows[layer] = cells
    return pd.DataFrame(rows).T


def kept(whole: Run, groups: Groups) -> pd.DataFrame:
    """Layers x dimensions: NNLS of the projected layer with the whole one, mean ± sd over seeds."""
    true = whole.graphs()
    rows: dict[str, dict[str, str]] = {
        layer: {"features": f"{whole.layers['n_features'][layer]:,}"} for layer in whole.layers.index
    }
    for dimensions, runs in groups.items():
        graphs = [run.graphs() for run in runs]
        for layer, cells in rows.items():
            projected = runs[0].layers["n_features"][layer] < whole.layers["n_features"][layer]
            shared = np.array([nnls(found[layer], true[layer]).value for found in graphs])
            cells[f"{dimensions:,}"] = spread(shared, "", sign="") if projected else ""
    return pd.DataFrame(rows).T


def spread(values: np.ndarray, unit: str, sign: str = "+") -> str:
    """`mean ± sd`, three decimals or one of percent."""
    digits = 1 if unit else 3
    sd = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):{sign}.{digits}f}{sd}{unit and ' ' + unit}"


def markdown(title: str, table: pd.DataFrame) -> str:
    """A pipe table under a bold line."""
    head = f"| layer | {' | '.join(table.columns)} |\n|{'---|' * (len(table.columns) + 1)}"
    lines = [f"| {layer} | {' | '.join(row)} |" for layer, row in zip(table.index, table.to_numpy(), strict=True)]
    return "\n".join([f"\n{title}\n", head, *lines])


def main(folders: Sequence[str]) -> None:
    found = [path.parent for folder in folders for path in sorted(Path(folder).rglob("config.yaml"))]
    runs = [Run(folder) for folder in found if (folder / "tables" / "nnls.csv").exists()]
    whole = next(run for run in runs if run.reduce is None)
    groups = {n: [run for run in runs if run.reduce == n] for n in sorted({run.reduce or 0 for run in runs} - {0})}
    print(f"N = {whole.layers['n_samples'].iloc[0]:,}, k = {whole.layers['k'].iloc[0]}, ", end="")
    print(", ".join(f"{len(runs)} seeds of {n:,}" for n, runs in groups.items()))

    def pairs(run: Run, layer: str) -> float:
        return float(run.nnls.loc[layer].drop(layer).mean())

    print(markdown("ID", differences(whole, groups, lambda run, a: float(run.layers["id_twonn"][a]), relative=True)))
    print(markdown("NNCS", differences(whole, groups, lambda run, a: float(run.layers["nncs"][a]), relative=False)))
    print(markdown("NNLS with the other layers, mean", differences(whole, groups, pairs, relative=False)))
    print(markdown("Neighbours kept", kept(whole, groups)))
    for n, some in groups.items():
        off = np.array([np.abs(run.nnls.to_numpy() - whole.nnls.to_numpy()).max() for run in some])
        print(f"\nlargest NNLS difference of any pair, {n:,} dimensions: {off.max():.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
