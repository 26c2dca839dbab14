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
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine_line, status_bytes, verdict

from rra_cli.config.compose import load
from rra_cli.core.provenance import hardware
from rra_cli.core.signals import Interrupted
from rra_cli.data.augment import Augment
from rra_cli.data.dataset import Samples
from rra_cli.data.torchvision_import import import_torchvision
from rra_cli.methods.method import Batch
from rra_cli.stages.lay_out import lay_out
from rra_cli.training.batches import Resident, draw_batch
from rra_cli.training.figures import BLOCK
from rra_cli.training.job import TrainingJob, begin
from rra_cli.training.lines import bank_size
from rra_cli.training.loop import run_training


@dataclass(frozen=True)
class Row:
    """One training. step: the most that a step may be of the network alone, by device; epoch: of a DataLoader's."""

    name: str
    overrides: tuple[str, ...]
    step: dict[str, float]
    epoch: float
    steps: int  # of an epoch here


ROWS = [
    Row(
        "resnet18-simclr",
        ("dataset=cifar10", "model=resnet18", "method=simclr", "augment=simclr_cifar", "method.batch_size=256"),
        {"cpu": 1.10, "cuda": 1.15},
        1.0,
        3,
    ),
    Row(
        "lenet-simclr",
        ("dataset=mnist", "model=lenet_rmqm", "method=simclr", "augment=rmqm_mnist", "method.batch_size=256"),
        {"cpu": 1.5, "cuda": float("inf")},
        0.5,
        40,
    ),
]
# What is trained while the memory is watched, and bytes on top of the images.
MEMORY = {
    "mnist": ("dataset=mnist", "model=lenet_rmqm", "method=simclr", "augment=rmqm_mnist", "method.batch_size=256"),
    "cifar10": ("dataset=cifar10", "model=resnet20", "method=supervised", "augment=rra", "method.batch_size=128"),
}
MOST_MEMORY = 1.5e9


def job_of(overrides: tuple[str, ...], n: int, seed: int = 0) -> TrainingJob:
    """That training of one epoch, on n random pictures."""
    experiment = load([*overrides, "method.epochs=1", "optimizer.warmup_epochs=0", "dataset.download=false"])
    dataset, random = experiment.dataset, np.random.default_rng(seed)
    n_classes = len(dataset.class_names)

    def pictures(count: int) -> Samples:
        images = random.integers(0, 256, (count, *dataset.input_shape), dtype=np.uint8)
        return Samples(images, np.arange(count) % n_classes, np.arange(count))

    return TrainingJob(
        model=experiment.model,
        method=experiment.method,
        augment=experiment.augment,
        optimizer=experiment.optimizer,
        seed=seed,
        train=pictures(n),
        test=pictures(10),
        class_names=dataset.class_names,
        mean=dataset.mean,
        std=dataset.std,
    )


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


def train(job: TrainingJob, device: str, stop: Callable[[], Interrupted | None]) -> None:
    """One epoch; what is kept is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        run_training(
            job,
            Path(folder),
            device=device,
            entries=["epoch_0001"],
            publish=lambda entry, source: None,
            save_every=float("inf"),
            stop=stop,
        )


def synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


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


def looks(job: TrainingJob) -> int:
    """Blocks of samples that are looked at after an epoch: the test pictures and, at most 10,000, the training's."""
    return sum(-(-n // BLOCK) for n in (len(job.test), bank_size(job.method, len(job.train))))


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


def row_size(row: Row) -> int:
    """The row's batch."""
    return next(int(text.split("=")[1]) for text in row.overrides if text.startswith("method.batch_size"))


class PictureViews(torch.utils.data.Dataset[Any]):
    """The usual data set: a picture, its views by a transform of one picture, its label."""

    def __init__(self, samples: Samples, transform: Any, n_views: int) -> None:
        self.images = torch.from_numpy(samples.images)
        self.labels, self.transform, self.n_views = samples.labels, transform, n_views

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[tuple[torch.Tensor, ...], int]:
        return tuple(self.transform(self.images[index]) for _ in range(self.n_views)), int(self.labels[index])


def torchvision_pipeline(augment: Augment, job: TrainingJob) -> Any:
    """The augmentation in torchvision's words, for one picture. ValueError for a part that has none here."""
    v2 = import_torchvision().transforms.v2
    size = job.train.images.shape[2:]
    settings = {name: value for name, value in vars(augment).items() if value}
    bilinear = v2.InterpolationMode.BILINEAR
    steps: list[Any] = []
    if "crop_scale" in settings:
        steps.append(v2.RandomResizedCrop(size, settings["crop_scale"], settings["crop_ratio"], antialias=False))
    if "flip" in settings:
        steps.append(v2.RandomHorizontalFlip(settings["flip"]))
    if "rotation" in settings:
        steps.append(v2.RandomRotation(settings["rotation"], interpolation=bilinear))
    if "perspective" in settings:
        steps.append(v2.RandomPerspective(settings["perspective"], settings["perspective_p"], interpolation=bilinear))
    if "color" in settings:
        jitter = v2.ColorJitter(*(settings.get(part, 0.0) for part in ("brightness", "contrast", "saturation", "hue")))
        steps.append(v2.RandomApply([jitter], settings["color"]))
    if "grayscale" in settings:
        steps.append(v2.RandomGrayscale(settings["grayscale"]))
    left = settings.keys() & {"translate", "vertical_flip", "auto_augment", "blur", "solarize"}
    if left:
        raise ValueError(f"{sorted(left)} are not translated")
    return v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(job.mean, job.std)])


def peer_epochs(job: TrainingJob, workers: int) -> Iterator[float]:
    """Seconds of epoch after epoch of the usual script."""
    training = begin(job, "cpu", len(job.train) // job.method.batch_size)
    encoder, objective, optimizer = training.encoder.train(), training.objective.train(), training.optimizer
    loader = torch.utils.data.DataLoader(
        PictureViews(job.train, torchvision_pipeline(job.augment, job), job.method.n_views),
        job.method.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=True,
    )
    ids = torch.arange(job.method.batch_size)
    while True:
        start = time.perf_counter()
        for views, labels in loader:
            laid = tuple(view.contiguous(memory_format=torch.channels_last) for view in views)
            loss, _ = objective.loss(encoder, Batch(laid, labels, ids))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            objective.after_step(encoder)
        yield time.perf_counter() - start


def measure_peer(row: Row, steps: int, repeats: int) -> bool:
    """Prints the second ratio; whether the target was met. On the CPU."""
    job = job_of(row.overrides, row_size(row) * steps)
    workers = hardware()["usable_cores"]
    peer = peer_epochs(job, workers)
    next(peer)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(repeats):
        ours.append(our_epoch(job))
        theirs.append(next(peer))
    ratio = min(ours) / min(theirs)
    print(
        f"  epoch of {steps} steps {min(ours):.4g} s, torchvision in a DataLoader with {workers} workers "
        f"{min(theirs):.4g} s, ratio {ratio:.3f} (target {row.epoch:g}: {verdict(ratio, row.epoch)})",
        flush=True,
    )
    return ratio <= row.epoch


def our_epoch(job: TrainingJob) -> float:
    """Seconds of the steps of one epoch: from the end of the look at the initial weights to the last step."""
    marks: list[float] = []

    def stop() -> Interrupted | None:
        marks.append(time.perf_counter())
        return None

    train(job, "cpu", stop)
    before = looks(job)
    return marks[before + len(job.train) // job.method.batch_size - 1] - marks[before - 1]


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
