"""An encoder with heads behind it: the same numbers, and a name for everything."""

from __future__ import annotations

import torch
from torch import nn

from rra_cli.methods.heads import mlp_head
from rra_cli.models.headed import Headed, head_layers
from rra_cli.models.mlp import MLP


def test_it_runs_the_encoder_and_then_its_heads() -> None:
    encoder = MLP(width=6, depth=1).build((1, 2, 2), 0)
    heads = {"projector": mlp_head(6, (5, 4), norm="none"), "predictor": mlp_head(4, (3, 4), norm="none")}
    headed, images = Headed(encoder.module, heads), torch.randn(7, 1, 2, 2)
    projected = heads["projector"](encoder.module(images))
    assert torch.equal(headed(images), heads["predictor"](projected))
    assert [layer.name for layer in head_layers(heads)] == ["projector.1", "projector.2", "predictor.1", "predictor.2"]
    for layer in head_layers(heads):
        assert headed.reference(layer.module) == layer.module
        assert isinstance(headed.get_submodule(layer.module), nn.Module)
    assert headed.get_submodule(headed.reference("hidden1")) is encoder.module.get_submodule("hidden1")
    assert headed.reference("") == ""
    assert set(headed.state_dict()) == {
        *(f"encoder.{name}" for name in encoder.module.state_dict()),
        *(f"{head}.{name}" for head, module in heads.items() for name in module.state_dict()),
    }


def test_without_heads_it_is_the_encoder() -> None:
    encoder = MLP(width=6, depth=1).build((1, 2, 2), 3)
    images = torch.randn(7, 1, 2, 2)
    assert torch.equal(Headed(encoder.module, {})(images), encoder.module(images))
    assert head_layers({}) == ()
