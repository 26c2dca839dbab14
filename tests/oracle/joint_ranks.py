"""What the ranks of test_oracle_joint_batch.py do, and the same done by one process: all in float64.

The network has no batch norm, so a row's output depends on that row alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from rra_cli.core.component import components
from rra_cli.methods.losses.barlow_twins import barlow_twins
from rra_cli.methods.losses.info_nce import info_nce
from rra_cli.methods.losses.joint import joint_rows
from rra_cli.methods.losses.negative_cosine import simsiam_loss
from rra_cli.methods.losses.nt_xent import nt_xent
from rra_cli.methods.losses.triplet import triplet_semi_hard
from rra_cli.methods.method import Batch, Method
from rra_cli.models.encoder import Encoder, Layer
from rra_cli.training.ranks import Ranks, current

N, CLASSES, FEATURES = 8, 3, 5
# Rows of the joint batch on each of the two ranks: equal parts, unequal ones, and a rank without any.
SPLITS = {"4+4": 4, "5+3": 5, "8+0": 8}

Gather = Callable[..., tuple[torch.Tensor, ...]]
# Two outputs (n, d), labels (n,), fixed keys (n, d): a loss.
Loss = Callable[[Gather, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
LOSSES: dict[str, Loss] = {
    "nt_xent": lambda gather, a, b, labels, keys: nt_xent(*gather(a, b), 0.3),
    "info_nce": lambda gather, a, b, labels, keys: info_nce(*gather(a, keys), torch.eye(4).double(), 0.2),
    "simsiam": lambda gather, a, b, labels, keys: simsiam_loss(
        *gather(a, b, a.detach().roll(1, 1), b.detach().roll(1, 1))
    ),
    "barlow_twins": lambda gather, a, b, labels, keys: barlow_twins(*gather(a, b), 0.1),
    "triplet": lambda gather, a, b, labels, keys: triplet_semi_hard(*gather(a, labels), 0.9)[0],
}


def alone(*parts: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """A control: each rank takes its own rows for the whole batch."""
    return parts


def own_gradient_only(*parts: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """A control: the gather that hands back the own rank's gradient alone, without the sum over ranks."""
    whole = joint_rows(*(part.detach() for part in parts))
    sizes = [len(rows) for rows in joint_rows(torch.zeros(len(parts[0])))]
    start = 0 if distributed.get_rank() == 0 else sizes[0] - len(parts[0])
    return tuple(
        torch.cat([rows[:start], part, rows[start + len(part) :]]) for rows, part in zip(whole, parts, strict=True)
    )


GATHERS: dict[str, Gather] = {"joint": joint_rows, "alone": alone, "own_gradient_only": own_gradient_only}


class Both(nn.Module):
    """One network on two views: DistributedDataParallel wants one forward pass for each backward pass."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 4)).double()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.net(x), self.net(y)


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gradient(name: str, gather: Gather, rows: slice, ranks: int) -> dict[str, torch.Tensor]:
    """The loss, and its gradient as DistributedDataParallel leaves it where there are ranks."""
    network = Both()
    run: nn.Module = DistributedDataParallel(network) if ranks > 1 else network
    x = normal(N, 6, seed=1)
    y = x + 0.5 * normal(N, 6, seed=2)
    labels, keys = torch.tensor([0, 1, 0, 1, 2, 1, 0, 1]), normal(N, 4, seed=3)
    loss = LOSSES[name](gather, *run(x[rows], y[rows]), labels[rows], keys[rows])
    loss.backward()
    return {"loss": loss.detach(), "gradient": torch.cat([p.grad.flatten() for p in network.parameters()])}


def trained_methods() -> list[str]:
    return [name for name, method in components("method").items() if method.trains]


def method_of(name: str) -> Method:
    chosen = components("method")[name]
    heads = {"simclr": {"projector": (4,)}, "barlow_twins": {"projector": (6, 4)}, "simsiam": {"projector": (6, 4)}}
    heads["moco_v2"] = {"projector": (4,), "queue": 20, "momentum": 0.5}
    return chosen(batch_size=N, **heads.get(name, {}))


def encoder(n_classes: int) -> Encoder:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, FEATURES), nn.Tanh())
    layers = [Layer("input", ""), Layer("features", "2")]
    if n_classes:
        module.append(nn.Linear(FEATURES, n_classes))
        layers.append(Layer("logits", "3"))
    return Encoder(module.double(), tuple(layers), "features", FEATURES)


def without_batch_norm(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            setattr(module, name, nn.Identity())
        without_batch_norm(child)


def after_steps(name: str, rows: slice, ranks: Ranks) -> dict[str, torch.Tensor]:
    """Two steps of gradient descent by a method; its losses, and all weights and buffers after them."""
    method = method_of(name)
    network = encoder(CLASSES if method.classifies else 0)
    objective = method.objective(network, CLASSES).double()
    without_batch_norm(objective)
    found = {}
    for step in range(2):
        views = tuple(normal(N, 1, 2, 3, seed=step) + 0.5 * normal(N, 1, 2, 3, seed=9 + i) for i in range(2))
        labels, ids = torch.arange(N) % CLASSES, 100 + torch.arange(N)
        batch = Batch(tuple(view[rows] for view in views[: method.n_views]), labels[rows], ids[rows])
        loss, _ = objective.loss(network.module, batch)
        loss.backward()
        trained = [p for module in (network.module, objective) for p in module.parameters() if p.requires_grad]
        ranks.average_gradients(trained)
        with torch.no_grad():
            for parameter in trained:
                parameter -= 0.3 * parameter.grad
                parameter.grad = None
        objective.after_step(network.module)
        found[f"loss {step}"] = loss.detach()
    states = {f"encoder {key}": value for key, value in network.module.state_dict().items()}
    return found | states | {f"objective {key}": value for key, value in objective.state_dict().items()}


def rank_main(rank: int, folder: str) -> None:
    """One of two processes. They meet at a file, so no port and no network is needed."""
    torch.set_num_threads(1)
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group(
        "gloo", init_method=(Path(folder) / "meet").as_uri(), rank=rank, world_size=2, timeout=timedelta(seconds=120)
    )
    found: dict[str, dict[str, torch.Tensor]] = {}
    for split, first in SPLITS.items():
        rows = slice(0, first) if rank == 0 else slice(first, N)
        for name in LOSSES:
            for how, gather in GATHERS.items():
                if how == "joint" or first < N:  # a rank without rows has nothing to compute a loss of its own from
                    found[f"{name} {how} {split}"] = gradient(name, gather, rows, 2)
        for name in trained_methods():
            if first < N:
                found[f"method {name} {split}"] = after_steps(name, rows, current())
    torch.save(found, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()
