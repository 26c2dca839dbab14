"""What nine pooling scales cost over none: capture and graphs of ResNet20 on CIFAR-10.

    python benchmarks/multi_scale.py [--samples 5000] [--epochs 1] [--repeats 2] [--folder DIR]

Trains the network of `ms_rra_cifar10_small` for some epochs, then captures and searches all layers of training images
unpooled, and at all nine scales of that experiment; both sides take turns in a store that is emptied before, the best
of each counts. Graphs are searched side by side, as in a run, and then once more one after the other. The limit is the
sum of the numbers that are searched over those without scales (1.66 for maps, less where a window covers a map, which
is searched once); the target is twice the unpooled run. Metrics (dimension, class similarity, similarity of layers
within and across scales) are shown beside, they do not count. Needs CIFAR-10 (RRA_DATA) and, for 5,000 samples, 6 GB of
disk. Exit code 1: the target was missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common import PeakMemory, machine_line, verdict

from rra_cli.config.compose import load
from rra_cli.config.experiment import Experiment
from rra_cli.core.store import Store
from rra_cli.reporters import make_reporter
from rra_cli.stages.capture import LayerCapture
from rra_cli.stages.graphs.side_by_side import build_all
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.layout import Layout
from rra_cli.stages.stage import Context, Stage, ensure

TARGET = 2.0
SIDES = {"unpooled": ("pooling=[none]",), "nine scales": ()}


@dataclass(frozen=True)
class Side:
    """Seconds of capture, graphs and metrics; processor seconds of the first two; bytes at the peak of memory.

    in_turn: seconds of the same graphs searched one after the other, each by all threads.
    """

    capture: float
    graphs: float
    in_turn: float
    metrics: float
    busy: float
    peak: int

    @property
    def total(self) -> float:
        """Seconds of what the target is about."""
        return self.capture + self.graphs


def experiment(folder: Path, samples: int, epochs: int, overrides: Sequence[str]) -> Experiment:
    """The small experiment on training images alone."""
    return load(
        [
            *("+experiment=ms_rra_cifar10_small", f"store.root={folder}", f"method.epochs={epochs}"),
            "metrics.intervals=none",
            *(f"dataset.train_size={max(10_000, samples)}", f"dataset.n_samples={samples}", "dataset.splits=[train]"),
            *overrides,
        ]
    )


def seconds(stages: Sequence[Stage], context: Context) -> float:
    """To build them, and what they need, as a run does."""
    start = time.perf_counter()
    build_all(stages, context, lambda done, stage: None)
    return time.perf_counter() - start


def measure(layout: Layout, context: Context) -> Side:
    """One side from an empty store (the training aside)."""
    for stage in [*layout.captures, *layout.graphs, *layout.targets]:
        for spec in stage.specs:
            context.store.free(spec)
    with PeakMemory() as memory:
        start = time.process_time()
        capture = seconds(layout.captures, context)
        graphs = seconds(layout.graphs, context)
        busy = time.process_time() - start
    metrics = seconds(layout.targets, context)
    for stage in layout.graphs:
        context.store.free(stage.point.graph)
    in_turn = seconds(layout.graphs, replace(context, timed=True))
    return Side(capture, graphs, in_turn, metrics, busy, memory.peak)


def numbers(captures: Sequence[LayerCapture]) -> int:
    """How many numbers a sample has in all of them."""
    return sum(capture.n_features for capture in captures)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="for the store, on the disk that is to be measured")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="multi-scale-") as name:
        folder = Path(name)
        layouts = {
            side: lay_out(experiment(folder, given.samples, given.epochs, overrides))
            for side, overrides in SIDES.items()
        }
        context = Context(Store(folder), make_reporter("none"), "cpu", None)
        training = layouts["unpooled"].training
        assert training is not None
        ensure(training, context)
        ensure(layouts["unpooled"].graphs[-1], context)  # compiled code is loaded
        best: dict[str, Side] = {}
        peaks = dict.fromkeys(SIDES, 0)
        for repeat in range(given.repeats):
            for side in list(SIDES) if repeat % 2 == 0 else reversed(SIDES):
                found = measure(layouts[side], context)
                peaks[side] = max(peaks[side], found.peak)
                best[side] = min(best.get(side, found), found, key=lambda each: each.total)
    plain, scales = best["unpooled"], best["nine scales"]
    print(machine_line())
    print(f"ResNet20 on CIFAR-10, {given.epochs} epochs, N = {given.samples:,}, best of {given.repeats}")
    for side, found in best.items():
        captures = layouts[side].captures
        print(
            f"{side:12} {len(captures):3} layers of {numbers(captures):,} numbers: capture {found.capture:.1f} s, "
            f"graphs {found.graphs:.1f} s, together {found.total:.1f} s ({found.busy:.0f} s of processor time); "
            f"graphs one after the other {found.in_turn:.1f} s; metrics {found.metrics:.1f} s; "
            f"peak memory {peaks[side] / 1e9:.2f} GB"
        )
    limit = numbers(layouts["nine scales"].captures) / numbers(layouts["unpooled"].captures)
    ratio = scales.total / plain.total
    parts = {"capture": scales.capture / plain.capture, "graphs": scales.graphs / plain.graphs}
    parts["processor time"] = scales.busy / plain.busy
    print(", ".join(f"{name} {value:.2f}" for name, value in parts.items()))
    print(f"ratio {ratio:.2f}; limit {limit:.2f}; target {TARGET:g}: {verdict(ratio, TARGET)}")
    return int(ratio > TARGET)


if __name__ == "__main__":
    sys.exit(main())
