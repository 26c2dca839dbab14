"""Training steps: end to end against the network alone, against a DataLoader, and the memory that they take.

    python benchmarks/training_step.py [--only ROW] [--device cpu|cuda] [--steps N] [--no-peer] [--no-memory] [--small]

1. Step: the time of a step of `run_training` (drawing, augmentation, forward, backward, optimiser, figures) over that
   of forward and backward pass alone on views that lie ready on the device. Both take turns, the medians count.
2. Peer: an epoch of `run_training` over that of the usual script: torchvision's v2 transforms image by image in a
   DataLoader with as many workers as cores, the same network, batch and optimiser. Both take turns, the best counts.
   Workers stay between epochs; an epoch before the clock starts brings both sides up.
3. Memory: the largest resident set (VmHWM, which counts libraries too) of a fresh process that reads a data set and
   trains on it, over the bytes of its uint8 images; Linux only.

Pictures of 1 and 2 are random bytes: what they show takes no time. Networks, methods and augmentations are those of
the configuration. Exit code 1: a target was missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import torch
from common import machine_line, status_bytes, verdict
from training_peer import measure_peer
from trainings import MEMORY, ROWS, Row, job_of, looks, row_size, synchronize, train

from rra_cli.config.compose import load
from rra_cli.core.signals import Interrupted
from rra_cli.methods.method import Batch
from rra_cli.stages.lay_out import lay_out
from rra_cli.training.batches import Resident, draw_batch
from rra_cli.training.job import TrainingJob, begin

MOST_MEMORY = 1.5e9


class Paced:
    """Is called by `run_training` after every step, as what asks for its end, and does `between` after `block` of them.

    times: seconds per step of every block but the first. skip: calls before the first step, from the look at the
    initial weights; steps: calls after it, before the look at the final ones.
    """

    def __init__(self, block: int, between: Callable[[], None], device: str, skip: int, steps: int) -> None:
        self.block, self.between, self.device, self.steps = block, between, device, steps
        self.times: list[float] = []
        self._calls = -skip
        self._since: float | None = None

    def __call__(self) -> Interrupted | None:
        self._calls += 1
        if 0 < self._calls <= self.steps and self._calls % self.block == 0:
            synchronize(self.device)
            now = time.perf_counter()
            if self._since is not None:
                self.times.append((now - self._since) / self.block)
            self.between()
            synchronize(self.device)
            self._since = time.perf_counter()
        return None


def network_alone(job: TrainingJob, device: str) -> Callable[[], None]:
    """Forward and backward pass on views that lie on the device."""
    torch.manual_seed(0)
    training = begin(job, device, 1)
    encoder, objective = training.encoder.train(), training.objective.train()
    views = tuple(
        torch.randn(job.method.batch_size, *job.train.images.shape[1:]).to(
            device=device, memory_format=torch.channels_last
        )
        for _ in range(job.method.n_views)
    )
    labels = torch.arange(job.method.batch_size, device=device) % job.n_classes
    batch = Batch(views, labels, torch.arange(job.method.batch_size, device=device))

    def step() -> None:
        for param in training.params:
            param.grad = None
        with torch.autocast(device, torch.bfloat16, enabled=job.method.precision == "bf16"):
            loss, _ = objective.loss(encoder, batch)
        loss.backward()

    return step


def measure_step(row: Row, device: str, steps: int) -> bool:
    """Prints the first ratio; whether the target was met."""
    block = 1 if device == "cpu" else 20
    # The first block starts the clock; the second brings caches and threads up.
    n_steps = (steps + 2) * block
    job = job_of(row.overrides, row_size(row) * n_steps)
    alone = network_alone(job, device)
    times: list[float] = []

    def between() -> None:
        start = time.perf_counter()
        for _ in range(block):
            alone()
        synchronize(device)
        times.append((time.perf_counter() - start) / block)

    alone()
    paced = Paced(block, between, device, looks(job), n_steps)
    train(job, device, paced)
    ours = statistics.median(paced.times[1:])
    limit = statistics.median(times[1:])
    drawing = statistics.median(draw_times(job, device))
    ratio, target = ours / limit, row.step[device]
    print(
        f"  step {1e3 * ours:.4g} ms, forward and backward alone {1e3 * limit:.4g} ms, measured / limit {ratio:.3f} "
        f"(target {target:g}: {verdict(ratio, target)}); of the step, drawing and augmentation {1e3 * drawing:.4g} ms",
        flush=True,
    )
    return ratio <= target


def draw_times(job: TrainingJob, device: str, repeats: int = 5) -> list[float]:
    """Seconds of drawing a batch."""
    data, n = Resident.of(job.train, job.mean, job.std, device), job.method.batch_size
    times = []
    for step in range(repeats + 1):
        synchronize(device)
        start = time.perf_counter()
        draw_batch(data, torch.arange(n, device=device), job.augment, job.method.n_views, 0, 1, step)
        synchronize(device)
        times.append(time.perf_counter() - start)
    return times[1:]


def memory_of(name: str, steps: int) -> None:
    """In a process of its own: trains for some steps on the real data and prints bytes."""
    training = lay_out(load([*MEMORY[name], "method.epochs=1", "optimizer.warmup_epochs=0"]), read_only=True).training
    assert training is not None
    job, calls = training.job(), iter(range(10**9))

    def stop() -> Interrupted | None:
        return Interrupted(15) if next(calls) >= steps else None

    with suppress(Interrupted):
        train(job, "cpu", stop)
    n_bytes = job.train.images.nbytes + job.test.images.nbytes
    print(json.dumps({"images": n_bytes, "peak": status_bytes("VmHWM")}))


def measure_memory(name: str, steps: int) -> bool:
    """Prints the third figure; whether the target was met."""
    command = [sys.executable, __file__, "--memory-of", name, "--steps", str(steps)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    limit = found["images"] + MOST_MEMORY
    print(
        f"{name}: peak resident set {found['peak'] / 1e9:.2f} GB, images {found['images'] / 1e9:.2f} GB "
        f"(target images + {MOST_MEMORY / 1e9:g} GB: {verdict(found['peak'] / limit, 1.0)})",
        flush=True,
    )
    return bool(found["peak"] <= limit)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=[row.name for row in ROWS], help="may be repeated")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16"])
    parser.add_argument("--steps", type=int, help="measured steps of each side (default: 5 and 40)")
    parser.add_argument("--repeats", type=int, default=3, help="epochs of each side against the DataLoader")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--memory-of", choices=list(MEMORY), help=argparse.SUPPRESS)
    parser.add_argument("--small", action="store_true", help="batches of 16, to try the script, not to quote")
    options = parser.parse_args(arguments)
    if options.memory_of:
        memory_of(options.memory_of, options.steps or 60)
        return 0
    print(machine_line() if options.device == "cpu" else f"{torch.cuda.get_device_name()}; {machine_line()}")
    met = True
    for row in ROWS:
        if options.only is not None and row.name not in options.only:
            continue
        changes = [f"method.precision={options.precision}", *(["method.batch_size=16"] if options.small else [])]
        kept = [text for text in row.overrides if not (options.small and text.startswith("method.batch_size"))]
        row = replace(row, overrides=(*kept, *changes))
        print(f"{row.name}: {' '.join(row.overrides)}", flush=True)
        met &= measure_step(row, options.device, options.steps or max(5, row.steps))
        if not options.no_peer and options.device == "cpu":
            met &= measure_peer(row, options.steps or row.steps, options.repeats)
    if not options.no_memory and options.device == "cpu" and options.only is None:
        for name in MEMORY:
            met &= measure_memory(name, options.steps or 60)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
