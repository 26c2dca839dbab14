"""Tiny trainings that use every kind of randomness: initialisation, order, augmentation, dropout."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from rra_cli.core.component import components
from rra_cli.data.augment import Augment, Drawn, NoAugment
from rra_cli.data.dataset import Samples
from rra_cli.methods.method import Method
from rra_cli.methods.supervised import Supervised
from rra_cli.models.encoder import Encoder, Layer
from rra_cli.models.model import Model
from rra_cli.training.loop import TrainingJob
from rra_cli.training.optimizer import SGD, Optimizer

N_CLASSES = 3


class Unlisted(Model):
    """Gives a name without registering a component: only a concrete class that sets its own name is one."""

    name: ClassVar[str] = "dropped"


@dataclass(frozen=True)
class Dropped(Unlisted):
    """A tiny convolutional net with batch norm and dropout."""

    dropout: float = 0.2

    def build(self, input_shape: tuple[int, int, int], n_classes: int) -> Encoder:
        n_features = 6 * (input_shape[1] - 2) * (input_shape[2] - 2)
        parts = [nn.Conv2d(input_shape[0], 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(self.dropout), nn.Flatten()]
        layers = [Layer("input", ""), Layer("conv", "0"), Layer("embedding", "4")]
        if n_classes:
            parts.append(nn.Linear(n_features, n_classes))
            layers.append(Layer("logits", "5"))
        return Encoder(nn.Sequential(*parts), tuple(layers), "embedding", n_features)


@dataclass(frozen=True)
class Noise(Augment):
    """Adds noise, different for every sample; calls `watch` first."""

    watch: Callable[[], None] = lambda: None

    def draw(self, shape: Sequence[int], generator: torch.Generator) -> Drawn:
        self.watch()
        return {"noise": torch.rand(tuple(shape), generator=generator)}

    def change(self, images: torch.Tensor, drawn: Drawn, view: int = 0) -> torch.Tensor:
        return (images + 0.1 * drawn["noise"]).clamp(0, 1)


SMALL = {"projector": (16, 8), "predictor": 8, "queue": 64}


def tiny(name: str, **settings: Any) -> Method:
    """The method of that name with heads and a queue that fit a tiny net; 3 epochs of batches of 20."""
    cls = components("method")[name]
    small = {field.name: SMALL[field.name] for field in fields(cls) if field.name in SMALL}
    return cls(**{"epochs": 3, "batch_size": 20, **small, **settings})


def trained_methods() -> list[str]:
    """Every method that trains."""
    return sorted(
        name for name, cls in components("method").items() if cls.trains and cls.__module__.startswith("rra_cli")
    )


def samples(n: int, seed: int) -> Samples:
    """Images `(n, 1, 6, 6)`: noise with a brighter row for each of 3 classes."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, N_CLASSES, n)
    images = random.integers(0, 160, (n, 1, 6, 6))
    images[np.arange(n), 0, 2 * labels] += 60
    return Samples(images.astype(np.uint8), labels.astype(np.int64), np.arange(n, dtype=np.int64))


def job(
    seed: int = 0, *, n: int = 90, epochs: int = 3, optimizer: Optimizer | None = None, **changes: Any
) -> TrainingJob:
    """A training of a fraction of a second: 90 samples in batches of 20 (the last of 10)."""
    plain = TrainingJob(
        model=Dropped(),
        method=Supervised(epochs=epochs, batch_size=20),
        augment=NoAugment(),
        optimizer=SGD(lr=0.05) if optimizer is None else optimizer,
        seed=seed,
        train=samples(n, 1),
        test=samples(60, 2),
        class_names=("a", "b", "c"),
        mean=(0.4,),
        std=(0.25,),
    )
    return replace(plain, **changes)


class Store:
    """Takes what is published, each entry once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def publish(self, entry: str, folder: Path) -> None:
        assert not (self.root / entry).exists(), f"{entry} is published twice"
        os.rename(folder, self.root / entry)

    def missing(self, entries: list[str]) -> list[str]:
        return [entry for entry in entries if not (self.root / entry).exists()]

    def content(self) -> dict[str, bytes]:
        """Every published file by its path."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }
