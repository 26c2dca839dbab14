"""What a study of sample sizes costs over its largest graphs alone: ResNet20 on CIFAR-10.

    python benchmarks/samples.py [--samples 5000] [--epochs 1] [--repeats 1] [--folder DIR]
    python benchmarks/samples.py --samples 15000 --widths 4096     # layers of so many features that are made up

Trains the network of `rra_samples_cifar10_small` for some epochs and captures its layers for N training images. Then,
from the same activations and with the same workspace: the study (lists of all layers at N and its smaller sizes, with
k up to 0.464 N; dimension, NNCS and NNLS of all of them), and graphs of N samples and k = 0.464 N of all layers,
nothing else. The sides take turns, the best of each counts. The target is 1.5 times the graphs, and less than 4 GB of
memory for N = 15,000. Needs CIFAR-10 (RRA_DATA; not with --widths) and disk: 5 GB for 5,000 samples, 20 GB for 15,000.
Exit code 1: a target was missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import ActivationLike, PeakMemory, machine_line, verdict

from rra_cli.config.compose import load
from rra_cli.config.experiment import Experiment
from rra_cli.core.store import Store
from rra_cli.reporters import make_reporter
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.layout import Layout
from rra_cli.stages.samples.lists import MOST_MEMORY
from rra_cli.stages.stage import Context, ensure

TARGET, MOST_BYTES = 1.5, 4 << 30
SIZES = (1000, 2500, 5000, 10_000, 15_000)


@dataclass(frozen=True)
class Side:
    """Seconds, those of the lists or graphs among them, processor seconds, and bytes of memory at the peak."""

    seconds: float
    search: float
    busy: float
    peak: int


def experiment(folder: Path, samples: int, epochs: int) -> Experiment:
    """The small experiment on training images alone."""
    k = round(samples / 10 ** (1 / 3))
    sizes = [size for size in SIZES if size <= samples]
    return load(
        [
            *("+experiment=rra_samples_cifar10_small", f"store.root={folder}", f"method.epochs={epochs}"),
            "metrics.intervals=none",
            *(f"dataset.train_size={max(10_000, samples)}", f"dataset.n_samples={samples}", "dataset.splits=[train]"),
            *(f"neighbors.k={k}", f"samples.sizes={sizes}", "activations.keep=always"),
            *("samples.fixed_k=[]", "samples.fixed_ndr=[]"),
        ]
    )


def made_up(folder: Path, samples: int, widths: Sequence[int]) -> Experiment:
    """A study of files of activations: a layer for every width, float32, written block by block."""
    files = folder / "layers"
    files.mkdir()
    for number, width in enumerate(widths):
        layer = np.lib.format.open_memmap(files / f"{number:02d}_{width}.npy", "w+", np.float32, (samples, width))
        start = 0
        for block in ActivationLike(width, seed=number).blocks(samples):
            layer[start : start + len(block)] = block
            start += len(block)
        layer.flush()
    np.save(files / "labels.npy", np.arange(samples) % 10)
    return load(
        [
            *("+experiment=from_activations", f"activations.path={files}", f"store.root={folder}", "metrics=rra"),
            *(f"neighbors.k={round(samples / 10 ** (1 / 3))}", "dataset.balanced=true"),
            f"samples.sizes={[size for size in SIZES if size <= samples]}",
        ]
    )


def study(layout: Layout, context: Context) -> Side:
    """All of the study, from an empty store."""
    stages = layout.studies[0].stages
    for stage in stages:
        for spec in stage.specs:
            context.store.free(spec)
    start, busy, search = time.perf_counter(), time.process_time(), 0.0
    with PeakMemory() as memory:
        for stage in stages:
            began = time.perf_counter()
            ensure(stage, context)
            search += time.perf_counter() - began if stage.name == "sample_lists" else 0.0
    return Side(time.perf_counter() - start, search, time.process_time() - busy, memory.peak)


def largest(layout: Layout, context: Context) -> Side:
    """The graphs of the largest k, each removed at once: together they take more disk than they need to be timed."""
    seconds, busy = 0.0, time.process_time()
    with PeakMemory() as memory:
        for graph in layout.graphs:
            context.store.free(graph.point.graph, f"k={graph.k}")
            start = time.perf_counter()
            ensure(graph, context)
            seconds += time.perf_counter() - start
            context.store.free(graph.point.graph, f"k={graph.k}")
    return Side(seconds, seconds, time.process_time() - busy, memory.peak)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--widths", default="", help="made-up layers instead of the network's: features, by commas")
    parser.add_argument("--folder", type=Path, help="for the store, on the disk that is to be measured")
    given = parser.parse_args()
    if given.samples < SIZES[0]:
        parser.error(f"--samples is {given.samples}: the smallest subset has {SIZES[0]}")
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="samples-") as name:
        widths = [int(width) for width in given.widths.split(",") if width]
        folder = Path(name)
        layout = lay_out(
            made_up(folder, given.samples, widths) if widths else experiment(folder, given.samples, given.epochs)
        )
        context = Context(Store(Path(name)), make_reporter("none"), "cpu", MOST_MEMORY)
        if layout.training is not None:
            ensure(layout.training, context)
        for capture in layout.captures:
            ensure(capture, context)
        ensure(layout.graphs[-1], context)  # compiled code is loaded
        best: dict[str, Side] = {}
        for repeat in range(given.repeats):
            sides = {"study": study, "largest graphs": largest}
            for side in list(sides) if repeat % 2 == 0 else reversed(sides):
                found = sides[side](layout, context)
                best[side] = min(best.get(side, found), found, key=lambda each: each.seconds)
        sampling = layout.studies[0].stages[0].sampling  # type: ignore[attr-defined]
    print(machine_line())
    n, k = sampling.sizes[-1], sampling.reaches[-1]
    layers = (
        f"made-up layers of {given.widths} features" if widths else f"ResNet20 on CIFAR-10, {len(layout.graphs)} layers"
    )
    print(f"{layers}, N = {list(sampling.sizes)}, k up to {k:,}")
    for side, each in best.items():
        print(
            f"{side:<15} {each.seconds:.1f} s, searches {each.search:.1f} s ({each.busy:.0f} s of processor time); "
            f"peak memory {each.peak / 1e9:.2f} GB"
        )
    ratio, peak = best["study"].seconds / best["largest graphs"].seconds, best["study"].peak
    print(f"study / largest graphs = {ratio:.2f}; target {TARGET:g}: {verdict(ratio, TARGET)}")
    memory = "met" if peak < MOST_BYTES else "missed"
    print(f"peak memory of the study at N = {n:,}: {peak / 2**30:.2f} GiB; target below 4 GiB at 15,000: {memory}")
    return 0 if ratio <= TARGET and peak < MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
