"""Schedules against closed forms and against torch's own schedulers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from rra_cli.errors import UserError
from rra_cli.training.optimizer import SGD, Adam, Optimizer


def weights() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.ones(3))]


def settings(optimizer: Optimizer, steps_per_epoch: int, epochs: int) -> list[dict[str, Any]]:
    _, schedule = optimizer.build(weights(), steps_per_epoch, epochs)
    return [schedule(step) for step in range(steps_per_epoch * epochs)]


def rates(optimizer: Optimizer, steps_per_epoch: int, epochs: int) -> list[float]:
    return [one["lr"] for one in settings(optimizer, steps_per_epoch, epochs)]


def torch_rates(make: Any, total: int, lr: float, key: str = "lr") -> list[float]:
    """What a torch scheduler sets for each step."""
    optimizer = torch.optim.SGD(weights(), lr=lr, momentum=0.9)
    scheduler = make(optimizer)
    found = []
    for step in range(total):
        found.append(optimizer.param_groups[0][key])
        optimizer.step()
        if step < total - 1:
            scheduler.step()
    return found


def test_cosine_is_torchs_linear_warm_up_and_cosine_annealing() -> None:
    steps, epochs, warm = 7, 20, 2 * 7

    def make(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        rise = lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / warm)
        fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps * epochs - warm, eta_min=0.01 * 0.3)
        return lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[warm])

    expected = torch_rates(make, steps * epochs, 0.3)
    found = rates(SGD(lr=0.3, warmup_epochs=2.0), steps, epochs)
    # torch's recurrence for the annealed rate starts from the value it finds, its lr times the first warm-up factor
    # where chained; from the milestone on it uses the closed form.
    assert found == pytest.approx(expected, rel=1e-9)
    assert rates(SGD(lr=0.3, warmup_epochs=0.0), steps, epochs) != pytest.approx(expected, rel=1e-2)


def test_the_thesis_schedule() -> None:
    """Up to 0.01 over 10 of 100 epochs, half of the way down in the middle of the rest, 1 % at the end."""
    found = rates(SGD(), 10, 100)
    assert found[0] == pytest.approx(0.01 / 100)
    assert found[99] == found[100] == pytest.approx(0.01)
    assert max(found) == found[99]
    assert found[550] == pytest.approx((0.01 + 0.0001) / 2)
    assert found[-1] == pytest.approx(0.0001, rel=1e-3)
    assert found == rates(SGD(warmup_epochs=10.0), 10, 100)


@pytest.mark.parametrize(("warmup", "share"), [(None, 0.3), (1.0, 0.1)])
def test_one_cycle_is_torchs(warmup: float | None, share: float) -> None:
    total = 130

    def make(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        return lr_scheduler.OneCycleLR(
            optimizer, max_lr=0.08, total_steps=total, pct_start=share, final_div_factor=1e4, cycle_momentum=True
        )

    ours = SGD(
        lr=0.08, schedule="one_cycle", warmup_epochs=warmup, final_lr_fraction=1 / 25 / 1e4, cycle_momentum=(0.85, 0.95)
    )
    found = settings(ours, 13, 10)
    assert [one["lr"] for one in found] == pytest.approx(torch_rates(make, total, 0.08), rel=1e-9)
    assert [one["momentum"] for one in found] == pytest.approx(torch_rates(make, total, 0.08, "momentum"), rel=1e-9)
    fixed = settings(SGD(lr=0.08, schedule="one_cycle"), 13, 10)
    assert {one["momentum"] for one in fixed} == {0.9}


def test_constant_stays_after_its_warm_up() -> None:
    assert rates(Adam(), 3, 2) == [0.001] * 6
    assert rates(Adam(lr=0.4, warmup_epochs=1.0), 4, 2) == pytest.approx([0.1, 0.2, 0.3, *[0.4] * 5])


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "constant"])
@pytest.mark.parametrize(("steps", "epochs"), [(1, 1), (1, 2), (2, 1), (50, 3)])
def test_every_schedule_stays_within_its_bounds(schedule: Any, steps: int, epochs: int) -> None:
    found = rates(SGD(lr=0.5, schedule=schedule), steps, epochs)
    assert len(found) == steps * epochs
    assert all(0.5 * 0.01 <= rate <= 0.5 or math.isclose(rate, 0.5 * 0.01) for rate in found)


def test_the_schedule_does_not_depend_on_the_steps_before() -> None:
    _, schedule = SGD().build(weights(), 10, 10)
    assert [schedule(step) for step in (70, 3, 70)] == [settings(SGD(), 10, 10)[step] for step in (70, 3, 70)]


def test_adam_cycles_its_first_beta() -> None:
    found = settings(Adam(schedule="one_cycle", cycle_momentum=(0.85, 0.95), betas=(0.9, 0.99)), 10, 10)
    assert found[0]["betas"] == (0.95, 0.99)
    assert found[29]["betas"] == pytest.approx((0.85, 0.99))


def test_a_step_is_the_textbooks() -> None:
    """SGD: w - lr (g + wd w); with Nesterov momentum m the first step is (1 + m) times that. Adam: first step lr."""
    for optimizer, expected in [
        (SGD(lr=0.1, weight_decay=0.5), 1 - 0.1 * 2.5),
        (SGD(lr=0.1, weight_decay=0.5, nesterov=True), 1 - 0.1 * 2.5 * 1.9),
        (Adam(lr=0.1), 1 - 0.1),
    ]:
        parameters = weights()
        torch_optimizer, _ = optimizer.build(parameters, 1, 1)
        parameters[0].grad = torch.full((3,), 2.0)
        torch_optimizer.step()
        assert parameters[0].tolist() == pytest.approx([expected] * 3, rel=1e-6)


def test_a_warm_up_longer_than_the_run_is_refused() -> None:
    with pytest.raises(UserError, match="warms up for 10 epochs, but there are only 10 to train") as caught:
        SGD(warmup_epochs=10.0).build(weights(), 5, 10)
    assert caught.value.hint is not None
    assert "optimizer.warmup_epochs=null" in caught.value.hint
    SGD(warmup_epochs=10.0).build(weights(), 0, 0)  # nothing is trained, so nothing warms up


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(lr=0.0), "lr is 0.0; a positive"),
        (lambda: SGD(lr=float("nan")), "lr is nan"),
        (lambda: SGD(weight_decay=-1.0), "weight_decay is -1.0; it cannot be negative"),
        (lambda: SGD(final_lr_fraction=1.5), "final_lr_fraction is 1.5"),
        (lambda: SGD(warmup_epochs=-1.0), "warmup_epochs is -1.0"),
        (lambda: SGD(cycle_momentum=(0.85, 0.95)), "belongs to schedule=one_cycle, but schedule is 'cosine'"),
        (lambda: SGD(schedule="one_cycle", cycle_momentum=(0.95, 0.85)), "0 <= low <= high < 1 is needed"),
        (lambda: SGD(momentum=1.0), "momentum is 1.0"),
        (lambda: SGD(momentum=0.0, nesterov=True), "nesterov needs a momentum above 0"),
        (lambda: Adam(betas=(0.9, 1.0)), r"betas are \[0.9, 1.0\]"),
    ],
)
def test_impossible_fields_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
