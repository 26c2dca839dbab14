"""An inner layer's output of the pass whose result is used."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rra_cli.models.mlp import MLP
from rra_cli.models.tap import Tap


def network() -> nn.Module:
    torch.manual_seed(0)
    return MLP(width=6, depth=2).build((1, 2, 2), 3).module


def test_it_gives_what_the_layer_gives_in_the_same_pass() -> None:
    module, images = network(), torch.randn(5, 1, 2, 2)
    logits, hidden = Tap(module, "hidden2").run(module, images)
    assert torch.equal(logits, module(images))
    assert torch.equal(module.get_submodule("logits")(hidden), logits)
    first = Tap(module, "hidden1").run(module, images)[1]
    assert not torch.equal(first, hidden), "another layer's output would do as well"


def test_gradients_of_both_outputs_reach_the_network() -> None:
    """d(sum of logits + sum of hidden) by one pass equals the sum of two separate ones."""
    module, images = network(), torch.randn(5, 1, 2, 2)
    parameter = next(module.parameters())
    logits, hidden = Tap(module, "hidden2").run(module, images)
    (logits.sum() + hidden.sum()).backward()
    assert parameter.grad is not None
    joint, parameter.grad = parameter.grad.clone(), None
    module(images).sum().backward()
    alone = parameter.grad.clone()
    trunk = module[:3]  # type: ignore[index] - flatten, hidden1, hidden2
    trunk(images).sum().backward()
    torch.testing.assert_close(joint, parameter.grad)
    assert not torch.allclose(joint, alone)


class Wrapped(nn.Module):
    """As data parallel does: the bare module inside of another."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.module(images)


def test_a_wrapped_network_is_seen_through() -> None:
    module, images = network(), torch.randn(5, 1, 2, 2)
    tap = Tap(module, "hidden2")
    for bare, wrapped in zip(tap.run(module, images), tap.run(Wrapped(module), images), strict=True):
        assert torch.equal(bare, wrapped)


def test_nothing_is_kept_between_passes_nor_listened_to_in_others() -> None:
    module, images = network(), torch.randn(5, 1, 2, 2)
    tap = Tap(module, "hidden2")
    tap.run(module, images)
    module(images)
    assert tap._output is None


def test_whoever_holds_a_tap_does_not_hold_the_network() -> None:
    """As a part of an objective the network would be saved and optimised twice."""

    class Holder(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.tap = Tap(module, "hidden2")

    assert not list(Holder(network()).parameters())


def test_another_network_is_refused() -> None:
    tap = Tap(network(), "hidden2")
    with pytest.raises(RuntimeError, match="'hidden2' did not run"):
        tap.run(network(), torch.randn(1, 1, 2, 2))
    with pytest.raises(AttributeError):
        Tap(network(), "hidden9")


def test_a_removed_tap_hears_nothing() -> None:
    module = network()
    tap = Tap(module, "hidden2")
    tap.remove()
    with pytest.raises(RuntimeError, match="did not run"):
        tap.run(module, torch.randn(1, 1, 2, 2))
