"""What augmentation costs: ours, kornia and torchvision image by image, against a training step, in one run.

    pip install kornia
    python benchmarks/augment_cost.py [--device cpu|cuda] [--threads N] [--repeats R] [--only steps|operations|sets]

Steps: forward, backward and zeroed gradients of a method on resident random tensors; the limit that augmentation is
measured against. Operations: the same images and the same parameters, one per sample, given to our function, to
kornia's and image by image to torchvision's functional v2; difference is the largest from torchvision's result. Sets:
drawing included, each library's own way to draw a set per sample (torchvision's on one image at a time); ours is timed
end to end as the training loop does it, too: gathered bytes, views, standardised, step.

A share is that of a step of which the operation is a part, for as many views as the step has. kornia's own way to do
AutoAugment draws one of the 25 pairs for a whole batch, so it is not compared.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import kornia
import torch
from augment_peers import Change, Images, kornia_set, one_by_one, operations, torchvision_set
from common import best_times, machine_line, verdict

from rra_cli.config.compose import load
from rra_cli.data import augment_draws as draws
from rra_cli.data.augment_policy import auto_augment, choose
from rra_cli.methods.method import Batch
from rra_cli.training.batches import Resident, draw_batch

N = 256
SIDES = ("ours", "kornia", "torchvision")


@dataclass(frozen=True)
class Step:
    """A training step of N images. sets: those it is trained with; target: end to end over the limit."""

    title: str
    model: str
    method: str
    shape: tuple[int, int, int]
    n_classes: int
    sets: tuple[str, ...]
    target: float


STEPS = (
    Step("ResNet-18L SimCLR", "resnet18", "simclr", (3, 32, 32), 10, ("simclr_cifar", "simclr_lightly", "rra"), 1.10),
    Step("LeNet triplets", "lenet_rmqm", "triplet_ss", (1, 28, 28), 10, ("rmqm_mnist",), 1.5),
    Step("LeNet supervised", "lenet5", "supervised", (1, 28, 28), 10, ("rmqm_mnist_one_view",), 1.5),
)


def training(step: Step, device: str) -> tuple[Callable[[Batch], None], int]:
    """One step on a batch, and the number of views it needs."""
    method = load([f"model={step.model}", f"method={step.method}", "optimizer=sgd"]).method
    model = load([f"model={step.model}"]).model
    torch.manual_seed(0)
    encoder = model.build(step.shape, step.n_classes if method.classifies else 0)
    encoder.module.to(device, memory_format=torch.channels_last).train()
    objective = method.objective(encoder, step.n_classes).to(device).train()

    def work(batch: Batch) -> None:
        for part in (encoder.module, objective):
            part.zero_grad(set_to_none=True)
        objective.loss(encoder.module, batch)[0].backward()
        settle(device)

    return work, method.n_views


def settle(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def uniform_images(shape: tuple[int, ...], device: str) -> Images:
    """8-bit values in [0, 1]."""
    random = torch.Generator().manual_seed(0)
    return (torch.randint(0, 256, (N, *shape), generator=random) / 255).to(device)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--threads", type=int)
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--only", choices=("steps", "operations", "sets"))
    given = arguments.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    device = given.device
    print(f"{machine_line()}, kornia {kornia.__version__}, on {device}")
    for step in STEPS:
        report(step, device, given.repeats, given.only)


def report(step: Step, device: str, repeats: int, only: str | None) -> None:
    """The tables of one step."""
    work, n_views = training(step, device)
    images, ids = uniform_images(step.shape, device), torch.arange(N, device=device)
    labels = ids % step.n_classes
    noise = torch.randn(N, *step.shape, device=device).contiguous(memory_format=torch.channels_last)
    batch = Batch((noise,) * n_views, labels, ids)
    limit = timed({"step": lambda: work(batch)}, device, repeats)["step"]
    print(f"\n{step.title}, {n_views} x {N} x {step.shape}: {1e3 * limit:.2f} ms forward and backward\n")
    if only in (None, "operations"):
        print(header("operation", "ours, difference", "kornia, difference"))
        for name, functions in operations(N, step.shape, device).items():
            print(operation_row(name, functions, images, n_views / limit, device, repeats))
        if step.shape[0] == 3:
            chosen = choose(draws.draw(N, torch.Generator().manual_seed(1))["auto_augment"])
            seconds = timed({"ours": lambda: auto_augment(images, chosen)}, device, repeats)["ours"]
            print(f"| auto_augment | {1e3 * seconds:.2f} | | | {n_views * seconds / limit:.1%} | | | |")
    if only in (None, "sets"):
        data = Resident((images * 255).byte(), labels, ids, (0.5,) * step.shape[0], (0.25,) * step.shape[0])
        print("\n" + header("set", "end to end / limit", "target"))
        for name in step.sets:
            print(set_row(name, step, data, work, batch, device, repeats))


def header(first: str, *last: str) -> str:
    names = (first, "ours, ms", "kornia, ms", "torchvision one by one, ms", "ours, share", "kornia, share", *last)
    return f"| {' | '.join(names)} |\n|{' --- |' * len(names)}"


def operation_row(
    name: str, functions: Sequence[Change], images: Images, scale: float, device: str, repeats: int
) -> str:
    """scale: from seconds to the share of a step."""
    sides = {side: partial(function, images) for side, function in zip(SIDES, functions, strict=True)}
    times = timed(sides, device, repeats)
    ours, theirs, expected = (side() for side in sides.values())
    apart = [f"{float((found - expected).abs().max()):.0e}" for found in (ours, theirs)]
    return row(name, times, scale, *apart)


def set_row(
    name: str, step: Step, data: Resident, work: Callable[[Batch], None], random: Batch, device: str, repeats: int
) -> str:
    augment, theirs, single = load([f"augment={name}"]).augment, kornia_set(name), torchvision_set(name)
    images, numbers, n_views = data.pixels(slice(None)), torch.Generator().manual_seed(0), len(random.views)
    positions = torch.randperm(N, generator=numbers)
    sides: dict[str, Callable[[], Any]] = {
        "ours": lambda: augment(images, numbers),
        "kornia": lambda: theirs(images),
        "torchvision": lambda: one_by_one(images, single),
    }
    times = timed(sides, device, repeats)
    steps: dict[str, Callable[[], Any]] = {
        "limit": lambda: work(random),
        "whole": lambda: work(draw_batch(data, positions, augment, n_views, 0, 1, 0)),
    }
    ends = timed(steps, device, repeats)
    ratio = ends["whole"] / ends["limit"]
    scale = n_views / ends["limit"]
    return row(name, times, scale, f"{ratio:.3f}", f"{step.target}, {verdict(ratio, step.target)}")


def row(name: str, times: dict[str, float], scale: float, *last: str) -> str:
    cells = [f"{1e3 * times[side]:.2f}" for side in SIDES] + [f"{scale * times[side]:.1%}" for side in SIDES[:2]]
    return f"| {' | '.join((name, *cells, *last))} |"


def timed(sides: dict[str, Callable[[], Any]], device: str, repeats: int) -> dict[str, float]:
    """Best seconds of each side, all on the device finished; called once before."""

    def settled(side: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            side()
            settle(device)

        run()
        return run

    return best_times({name: settled(side) for name, side in sides.items()}, repeats)


if __name__ == "__main__":
    main()
