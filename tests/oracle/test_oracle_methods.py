"""What the papers say of their methods, as theorems on small networks: what carries a gradient, what follows what,
and that training trains."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from rra_cli.core.component import components
from rra_cli.methods.losses.nt_xent import nt_xent
from rra_cli.methods.method import Batch, Method, Objective
from rra_cli.methods.moco_v2 import MoCoV2
from rra_cli.methods.simsiam import SimSiam
from rra_cli.methods.triplet import TripletSS
from rra_cli.models.encoder import Encoder, Layer

N, CLASSES, FEATURES, QUEUE = 24, 3, 8, 60
HEADS = {
    "simclr": {"projector": (8, 6)},
    "simsiam": {"projector": (8, 6), "predictor": 4},
    "moco_v2": {"projector": (8, 6), "queue": QUEUE, "momentum": 0.9},
    "barlow_twins": {"projector": (6,), "off_diagonal": 0.1},
}
TRAINED = [name for name, method in components("method").items() if method.trains]


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def start(method: Method) -> tuple[nn.Module, Objective]:
    torch.manual_seed(0)
    n_classes = CLASSES if method.classifies else 0
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, FEATURES), nn.Tanh())
    layers = [Layer("input", ""), Layer("features", "4")]
    if n_classes:
        module.append(nn.Linear(FEATURES, n_classes))
        layers.append(Layer("logits", "5"))
    encoder = Encoder(module.double(), tuple(layers), "features", FEATURES)
    return module, method.objective(encoder, CLASSES).double()


def shown(method: Method, seed: int) -> Batch:
    """Three clusters; the views of a sample are near each other."""
    labels = torch.arange(N) % CLASSES
    images = (normal(CLASSES, 6, seed=1000)[labels] + 0.7 * normal(N, 6, seed=seed)).view(N, 1, 2, 3)
    views = tuple(images + 0.2 * normal(N, 1, 2, 3, seed=seed + 500 + i) for i in range(method.n_views))
    return Batch(views, labels, torch.arange(N))


def loss_after(method: Method, n_steps: int, lr: float) -> float:
    """The loss on a batch that is never trained on."""
    encoder, objective = start(method)
    # As the loop has it: all parameters, also of the momentum encoder, which has no gradient.
    parameters = [*encoder.parameters(), *objective.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=1e-4)
    for step in range(n_steps):
        loss, _ = objective.loss(encoder, shown(method, step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        objective.after_step(encoder)
    with torch.no_grad():
        return objective.loss(encoder, shown(method, 400))[0].item()


def method_of(name: str) -> Method:
    return components("method")[name](batch_size=N, **HEADS.get(name, {}))


@pytest.mark.parametrize("name", TRAINED)
def test_thirty_steps_lower_the_loss(name: str) -> None:
    """Of a batch never seen. Control: the same steps with a learning rate of 0 do not.

    MoCo's loss is compared with the control's at the end, for its queue fills with real keys meanwhile.
    """
    method = method_of(name)
    trained, control, before = loss_after(method, 30, 0.05), loss_after(method, 30, 0.0), loss_after(method, 0, 0.05)
    assert trained < control - 0.02
    if name != "moco_v2":
        assert control == before


# SimSiam


class Severed(nn.Module):
    """A predictor that lets no gradient back to the projection."""

    def __init__(self, predictor: nn.Module) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.predictor(z.detach())


def test_in_simsiam_all_gradients_come_through_the_predictor() -> None:
    """With its input severed nothing reaches encoder and projector: the targets z are constants. It learns itself."""
    method = SimSiam(batch_size=N, projector=(8, 6), predictor=4)
    encoder, objective = start(method)
    objective.loss(encoder, shown(method, 0))[0].backward()
    assert all(p.grad is not None for p in [*encoder.parameters(), *objective.projector.parameters()])
    encoder, objective = start(method)
    objective.predictor = Severed(objective.predictor)
    objective.loss(encoder, shown(method, 0))[0].backward()
    assert all(p.grad is None for p in [*encoder.parameters(), *objective.projector.parameters()])
    assert all(p.grad is not None for p in objective.predictor.parameters())


# MoCo


def moco(momentum: float, n_steps: int) -> tuple[list[torch.Tensor], torch.Tensor, nn.Module, list[torch.Tensor]]:
    """The encoder's weights after 0, 1, ... steps, the momentum encoder's at the end, the objective, all keys."""
    method = MoCoV2(batch_size=N, projector=(6,), queue=QUEUE, momentum=momentum)
    encoder, objective = start(method)
    optimizer = torch.optim.SGD([*encoder.parameters(), *objective.parameters()], 0.1, momentum=0.9, weight_decay=0.1)
    weights, keys = [encoder[1].weight.detach().clone()], []
    for step in range(n_steps):
        batch = shown(method, step)
        with torch.no_grad():  # by hand, before the step: keys are those of the momentum encoder as it was
            keys.append(functional.normalize(objective.momentum_projector(objective.momentum_encoder(batch.views[1]))))
        loss, _ = objective.loss(encoder, batch)
        optimizer.zero_grad()
        loss.backward()
        followed = [p.clone() for p in objective.momentum_encoder.parameters()]
        optimizer.step()
        assert all(torch.equal(a, b) for a, b in zip(followed, objective.momentum_encoder.parameters(), strict=True))
        assert all(p.grad is None for p in objective.momentum_encoder.parameters())
        objective.after_step(encoder)
        weights.append(encoder[1].weight.detach().clone())
    return weights, objective.momentum_encoder[1].weight.detach(), objective, keys


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_the_momentum_encoder_is_the_exponential_mean_of_the_encoder(momentum: float) -> None:
    """m^T w_0 + (1 - m) sum_t m^(T-t) w_t, in closed form; the optimiser, with decay, never touches it."""
    weights, followed, _, _ = moco(momentum, 7)
    expected = momentum**7 * weights[0] + sum((1 - momentum) * momentum ** (7 - t) * weights[t] for t in range(1, 8))
    torch.testing.assert_close(followed, expected, rtol=1e-12, atol=1e-14)
    assert (weights[7] - weights[0]).abs().max() > 0.01


@pytest.mark.parametrize("n_steps", [1, 2, 3, 8])
def test_the_queue_holds_the_last_keys_first_in_first_out(n_steps: int) -> None:
    """24 keys a step and 60 places: what is not yet pushed out of the first random rows, then keys in their order."""
    _, _, objective, keys = moco(0.9, n_steps)
    _, _, untouched, _ = moco(0.9, 0)
    expected = torch.cat([untouched.queue, *keys])[-QUEUE:]
    oldest_first = objective.queue.roll(-int(objective.place), dims=0)
    torch.testing.assert_close(oldest_first, expected, rtol=1e-12, atol=1e-14)
    saved = objective.state_dict()
    assert torch.equal(saved["queue"], objective.queue)
    assert int(saved["place"]) == n_steps * N % QUEUE
    assert not objective.queue.requires_grad


# Triplets on indices


def test_the_labels_of_triplet_ss_are_the_ids() -> None:
    """Names of ids and labels of classes do not matter; two samples of one id are positives of each other."""
    method = TripletSS(batch_size=N)
    encoder, objective = start(method)
    batch = shown(method, 0)

    def loss(ids: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return objective.loss(encoder, Batch(batch.views, labels, ids))[0]

    value = loss(torch.arange(N), batch.labels)
    assert torch.equal(loss(torch.arange(N).flip(0) * 7 + 3, None), value)
    assert not torch.isclose(loss(torch.arange(N) // 2, batch.labels), value)


# SimCLR


def test_simclr_learns_what_the_views_share() -> None:
    """Trained on pairs of views of different samples instead, it does worse on true pairs that it never saw."""
    method = method_of("simclr")
    encoder, objective = start(method)
    optimizer = torch.optim.SGD([*encoder.parameters(), *objective.parameters()], 0.05, momentum=0.9)
    for step in range(30):
        batch = shown(method, step)
        unrelated = Batch((batch.views[0], batch.views[1].roll(step % (N - 1) + 1, 0)), batch.labels, batch.ids)
        loss, _ = objective.loss(encoder, unrelated)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        z1, z2 = (objective.projector(encoder(view)) for view in shown(method, 400).views)
        paired = nt_xent(z1, z2, 0.5).item()
    assert loss_after(method, 30, 0.05) < paired - 0.05
