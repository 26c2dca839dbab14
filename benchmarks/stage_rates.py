"""The rates behind the times of `rra plan`, measured on this machine; under a minute on four quiet cores.

    python benchmarks/stage_rates.py [--folder DIR]

The figures belong into rra_cli/stages/costs.py (constants of the same names), the printed block into README.md here.
Those of a graph are in rra_cli/neighbors/cost_model.py, measured by search_costs.py.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from rra_cli.config.experiment import outputs_root
from rra_cli.core import files
from rra_cli.core.provenance import hardware
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.data.augment_views import RandomViews
from rra_cli.data.dataset import Samples
from rra_cli.models.lenet import LeNetRMQM
from rra_cli.models.mlp import MLP
from rra_cli.models.model import Model
from rra_cli.models.resnet import ResNet20
from rra_cli.stages.costs import forward_flops
from rra_cli.training.batches import Resident, draw_batch

CIFAR10 = (3, 32, 32)


def training_rate(batch_size: int = 128, seconds: float = 10.0) -> float:
    """FLOP/s of ResNet20's steps on CIFAR-10's shape; a step counts as three forward passes, as in `costs.training`."""
    network = ResNet20().build(CIFAR10, 10).module
    flops = 3 * batch_size * forward_flops(network, CIFAR10)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    images, labels = torch.randn(batch_size, *CIFAR10), torch.randint(10, (batch_size,))
    network.train()

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return flops / median_seconds(step, seconds)


def step_seconds(seconds: float = 3.0) -> float:
    """Seconds of a step of next to nothing: two samples through a small network, as `run_training` does it."""
    return median_seconds(step_of(MLP(width=16), 2, (1, 8, 8)), seconds)


def pixel_seconds(batch_size: int = 256, seconds: float = 8.0) -> float:
    """Seconds per value of a view that LeNet's steps on MNIST's shape take beside their operations and the above."""
    shape = (1, 28, 28)
    flops = batch_size * 3 * forward_flops(LeNetRMQM().build(shape, 10).module, shape)
    taken = median_seconds(step_of(LeNetRMQM(), batch_size, shape), seconds)
    return max(0.0, taken - flops / training_rate(seconds=seconds) - step_seconds()) / (batch_size * 28 * 28)


def step_of(model: Model, batch_size: int, shape: tuple[int, int, int]) -> Callable[[], None]:
    """A step of supervised training with its batch drawn and augmented (flips), as the loop does it."""
    network = model.build(shape, 10).module.to(memory_format=torch.channels_last).train()
    images = np.random.default_rng(0).integers(0, 256, (4 * batch_size, *shape), dtype=np.uint8)
    samples = Samples(images, np.arange(len(images)) % 10, np.arange(len(images)))
    data = Resident.of(samples, (0.5,) * shape[0], (0.25,) * shape[0], "cpu")
    trained = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    augment, number = RandomViews(flip=0.5), iter(range(10**9))

    def step() -> None:
        batch = draw_batch(data, torch.arange(batch_size), augment, 1, 0, 1, next(number))
        trained.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(network(batch.views[0]), batch.labels).backward()
        trained.step()

    return step


def forward_rate(batch_size: int = 256, seconds: float = 8.0) -> float:
    """FLOP/s of ResNet20's forward pass, at the batch size of a capture."""
    network = ResNet20().build(CIFAR10, 10).module.eval()
    flops = batch_size * forward_flops(network, CIFAR10)
    images = torch.randn(batch_size, *CIFAR10)

    def forward() -> None:
        with torch.no_grad():
            network(images)

    return flops / median_seconds(forward, seconds)


def disk_rate(folder: Path, n_bytes: int = 200 * 10**6, seconds: float = 10.0) -> float:
    """Bytes/s of what is written to the store: the file, its checksum and the flush to disk."""
    layer = np.random.default_rng(0).normal(size=n_bytes // 8)
    store, number = Store(folder), iter(range(1000))

    def publish() -> None:
        with store.claim(Spec("rates", 1, {"number": next(number)})) as work:
            files.write_array(work.path / "layer.npy", layer)
            work.publish(["layer.npy"])

    return layer.nbytes / median_seconds(publish, seconds)


def median_seconds(work: Callable[[], None], seconds: float) -> float:
    """Of one call, after one that does not count; calls go on for so long."""
    work()
    times: list[float] = []
    while not times or sum(times) < seconds:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="on the disk of the store (default: the outputs folder)")
    parent = files.make_folder(parser.parse_args().folder or outputs_root())
    with tempfile.TemporaryDirectory(dir=parent, prefix="rates-") as folder:
        rates = {
            "TRAINING_FLOPS": training_rate(),
            "FORWARD_FLOPS": forward_rate(),
            "PIXEL_SECONDS": pixel_seconds(),
            "STEP_SECONDS": step_seconds(),
            "DISK_BYTES": disk_rate(Path(folder)),
        }
    machine = hardware()
    print(f"{machine['cpu']}, {machine['usable_cores']} cores used by {machine['torch_threads']} threads, ", end="")
    print(f"{machine['memory_bytes'] / 1e9:.0f} GB of memory, torch {torch.__version__}")
    for name, rate in rates.items():
        print(f"{name} = {rate:.1e}")


if __name__ == "__main__":
    main()
