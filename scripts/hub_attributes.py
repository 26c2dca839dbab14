"""Which pictures are hubs: luminance or contrast of those that stand in most neighbour lists, layer by layer.

    python scripts/hub_attributes.py RUN [--attribute contrast] [--split test] [--share 0.01]

RUN is the folder of a finished run on pictures. Prints a Markdown table, a row a layer of the last checkpoint: the
median of the attribute over the share of samples that stand in most lists, and over all samples; Spearman's correlation
of attribute and occurrences; samples that stand in no list. Reads the run's data set and the graphs in its store.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from scipy import stats

from rra_cli.config.bind import bind
from rra_cli.data import attributes
from rra_cli.data.dataset import ImageDataset
from rra_cli.data.subset import load_measured
from rra_cli.metrics.hubness import occurrences
from rra_cli.neighbors.io import load_graph

ATTRIBUTES = {"luminance": attributes.luminance, "contrast": attributes.contrast}


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--attribute", choices=sorted(ATTRIBUTES), default="contrast")
    parser.add_argument("--split", choices=("train", "test"), default="test")
    parser.add_argument("--share", type=float, default=0.01, help="of the samples, that are called hubs (0.01)")
    given = parser.parse_args(argv)
    if not (given.run / "manifest.json").exists():
        parser.error(f"{given.run} has no manifest.json: give the folder of a finished run")
    config = yaml.safe_load((given.run / "config.yaml").read_text())
    dataset = bind({key: value for key, value in config.items() if key != "experiment"}).dataset
    if not isinstance(dataset, ImageDataset):
        parser.error(f"{given.run} measured no pictures")
    values = ATTRIBUTES[given.attribute](load_measured(dataset, given.split).images)
    manifest = json.loads((given.run / "manifest.json").read_text())
    store, n_hubs = given.run / manifest["store"], max(1, round(given.share * len(values)))
    print(f"| {given.attribute} | of {n_hubs} hubs | of all {len(values):,} | Spearman's r | in no list |")
    print("|---|---|---|---|---|")
    for row in manifest["graphs"]:
        if row["checkpoint"] == "last" and row["split"] == given.split and row["pool"] == "none" and row["path"]:
            counts = occurrences(load_graph(store / row["path"]))
            hubs = np.median(values[np.argsort(-counts, kind="stable")[:n_hubs]])
            r = stats.spearmanr(values, counts).statistic
            print(f"| {row['layer']} | {hubs:.3f} | {np.median(values):.3f} | {r:.2f} | {np.sum(counts == 0):,} |")


if __name__ == "__main__":
    main()
