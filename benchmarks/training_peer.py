"""An epoch against the usual script: torchvision's transforms, image by image, in a DataLoader."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from common import verdict
from trainings import Row, job_of, looks, row_size, train

from rra_cli.core.provenance import hardware
from rra_cli.core.signals import Interrupted
from rra_cli.data.augment import Augment
from rra_cli.data.dataset import Samples
from rra_cli.data.torchvision_import import import_torchvision
from rra_cli.methods.method import Batch
from rra_cli.training.job import TrainingJob, begin


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
