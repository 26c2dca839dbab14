"""What is trained, and the state from which a training begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from rra_cli.core.reproducibility import derive_seed
from rra_cli.data.augment import Augment
from rra_cli.data.dataset import Samples
from rra_cli.methods.method import Method, Objective
from rra_cli.models.model import Model
from rra_cli.training.optimizer import Optimizer
from rra_cli.training.state import Training


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """What is trained. test: the split on which accuracy is computed; it decides which epoch is the best.

    mean, std: per channel, of pixels in [0, 1]; what the network sees is (pixel / 255 - mean) / std. identity: what
    the training is the result of, as plain JSON; a resume file of another one is refused.
    """

    model: Model
    method: Method
    augment: Augment
    optimizer: Optimizer
    seed: int
    train: Samples
    test: Samples
    class_names: Sequence[str]
    mean: Sequence[float]
    std: Sequence[float]
    identity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """The last epoch; 0 where nothing is trained."""
        return self.method.epochs if self.method.trains else 0

    @property
    def n_classes(self) -> int:
        """Classes of the data set."""
        return len(self.class_names)


def begin(job: TrainingJob, device: str, steps_per_epoch: int) -> Training:
    """A training before its first step: initial weights drawn on the CPU, so they are the same on every device."""
    torch.manual_seed(derive_seed(job.seed, "init"))
    _, channels, height, width = job.train.images.shape
    n_outputs = job.n_classes if job.method.classifies else 0
    encoder = job.model.build((channels, height, width), n_outputs)
    objective: Objective = _placed(job.method.objective(encoder, n_outputs), device)
    module = _placed(encoder.module, device)
    params = [*module.parameters(), *(param for param in objective.parameters() if param.requires_grad)]
    optimizer, schedule = job.optimizer.build(params, steps_per_epoch, job.epochs)
    return Training(module, objective, optimizer, schedule, representation=encoder.representation_module)


def compiled(module: torch.nn.Module) -> Any:
    """The network compiled by torch, afresh.

    What torch has compiled for an equal network before does not know of hooks in this one (`models/tap.py`).
    """
    torch.compiler.reset()
    return torch.compile(module)


def _placed(module: Any, device: str) -> Any:
    """On the device, its convolutions channels last in memory."""
    return module.to(device=device, memory_format=torch.channels_last)
