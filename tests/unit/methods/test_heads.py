"""Projectors and predictors: their shape, what they hold, and that lightly's of the same weights give the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from rra_cli.data.torchvision_import import import_torchvision
from rra_cli.errors import UserError
from rra_cli.methods.heads import check_widths, features_of, mlp_head
from rra_cli.models.encoder import Encoder, Layer

import_torchvision()  # before lightly does it, which knows nothing of builds whose operators do not load
from lightly.models.modules import heads  # noqa: E402


def copied(ours: nn.Module, theirs: nn.Module) -> None:
    """Gives `theirs` the weights of `ours`; both hold the same tensors in the same order."""
    values = list(ours.state_dict().values())
    names = list(theirs.state_dict())
    theirs.load_state_dict(dict(zip(names, values, strict=True)))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (mlp_head(6, (8, 4), norm="none"), heads.SimCLRProjectionHead(6, 8, 4, batch_norm=False)),
        (mlp_head(6, (8, 4), norm="all"), heads.SimCLRProjectionHead(6, 8, 4)),
        (mlp_head(6, (8, 4), norm="none"), heads.MoCoProjectionHead(6, 8, 4)),
        (mlp_head(6, (8, 8, 8), norm="all", last_affine=False), heads.SimSiamProjectionHead(6, 8, 8)),
        (mlp_head(6, (3, 6), norm="hidden"), heads.SimSiamPredictionHead(6, 3, 6)),
    ],
)
def test_a_head_is_lightlys(ours: nn.Module, theirs: nn.Module) -> None:
    copied(ours, theirs)
    values = torch.randn(10, 6)
    torch.testing.assert_close(ours(values), theirs(values))
    # In evaluation mode as well: the running statistics were gathered alike.
    torch.testing.assert_close(ours.eval()(values), theirs.eval()(values))


def test_barlow_twins_head_is_lightlys_without_the_bias_that_the_loss_removes() -> None:
    ours = mlp_head(6, (8, 8, 5), norm="hidden", last_bias=False)
    theirs = heads.BarlowTwinsProjectionHead(6, 8, 5)
    nn.init.zeros_(theirs.layers[-1].bias)
    names = [name for name in theirs.state_dict() if name != "layers.6.bias"]
    theirs.load_state_dict(dict(zip(names, ours.state_dict().values(), strict=True)), strict=False)
    values = torch.randn(10, 6)
    torch.testing.assert_close(ours(values), theirs(values))


def test_blocks_are_numbered_from_one_and_their_parts_named() -> None:
    head = mlp_head(6, (8, 4), norm="hidden")
    assert [name for name, _ in head.named_children()] == ["1", "2"]
    assert [name for name, _ in head.get_submodule("1").named_children()] == ["linear", "norm", "activation"]
    assert [name for name, _ in head.get_submodule("2").named_children()] == ["linear"]
    assert set(head.state_dict()) >= {"1.linear.weight", "1.norm.weight", "2.linear.weight", "2.linear.bias"}
    assert "1.linear.bias" not in head.state_dict()


def test_no_layers_are_the_identity() -> None:
    values = torch.randn(3, 6)
    assert torch.equal(mlp_head(6, (), norm="none")(values), values)


@pytest.mark.parametrize(
    ("widths", "least", "message"),
    [
        ((0,), 0, r"projector is \[0\]; expected layers of at least 1 unit"),
        ((8, -1), 1, r"projector is \[8, -1\]; expected at least 1 layer, each of at least 1 unit"),
        ((), 1, r"projector is \[\]; expected at least 1 layer"),
    ],
)
def test_impossible_widths_are_refused(widths: tuple[int, ...], least: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_widths("projector", widths, least)


def test_a_model_that_does_not_say_its_features_is_refused() -> None:
    layers: Any = (Layer("input", ""), Layer("a", "0"))
    encoder = Encoder(nn.Sequential(nn.Linear(2, 3)), layers)
    with pytest.raises(UserError, match="does not say how many features") as caught:
        features_of(encoder)
    assert "n_features" in str(caught.value.hint)
    assert features_of(Encoder(encoder.module, layers, n_features=3)) == 3
