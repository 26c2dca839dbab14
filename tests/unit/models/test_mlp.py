"""The shallow network of the paper on magnified boundaries: its formula and start; and the plain one is as before."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rra_cli.core.fields import identity_of
from rra_cli.models.mlp import MLP
from rra_cli.models.parts import activation_module

SHALLOW = MLP(activation="sigmoid", width=250, depth=1, init="normal")


def test_a_shallow_network_is_the_papers_formula() -> None:
    """Outputs (1/sqrt(n)) (V phi(W x + b) + c): written out in numpy."""
    torch.manual_seed(0)
    encoder = SHALLOW.build((2, 1, 1), 2)
    w, b, v, c = (p.detach().double().numpy() for p in encoder.module.parameters())
    x = np.random.default_rng(0).uniform(-1, 1, (5, 2))
    hidden = 1 / (1 + np.exp(-(x @ w.T + b)))
    expected = (hidden @ v.T + c) / math.sqrt(250)
    found = encoder.module.double()(torch.from_numpy(x)[:, :, None, None])
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12)
    assert [layer.name for layer in encoder.layers] == ["input", "hidden1", "logits"]


def test_weights_and_biases_are_standard_normal() -> None:
    torch.manual_seed(0)
    for each in MLP(width=2000, depth=2, init="normal").build((2, 1, 1), 2).module.parameters():
        params = each.detach()
        if params.numel() > 1000:
            assert abs(float(params.mean())) < 5 / math.sqrt(params.numel())
            assert float(params.var()) == pytest.approx(1.0, abs=5 * math.sqrt(2 / params.numel()))


def test_outputs_of_wide_networks_keep_their_size_and_of_plain_ones_shrink() -> None:
    def spread(width: int, init: str) -> float:
        torch.manual_seed(0)
        model = MLP(activation="tanh", width=width, depth=2, init=init)
        outputs = model.build((2, 1, 1), 200).module(torch.ones(1, 2, 1, 1))
        return float(outputs.detach().std())

    assert spread(2000, "normal") == pytest.approx(spread(100, "normal"), rel=0.3)
    assert spread(100, "normal") > 2 * spread(100, "uniform")


def test_networks_of_before_keep_keys_and_names() -> None:
    """`init` came later: what was trained without it is found again."""
    assert "init" not in identity_of(MLP())
    assert identity_of(SHALLOW)["init"] == "normal"
    assert list(MLP(depth=1).build((1, 4, 4), 3).module.state_dict()) == [
        "hidden1.linear.weight",
        "hidden1.linear.bias",
        "logits.weight",
        "logits.bias",
    ]


def test_erf_is_twice_phi_minus_one() -> None:
    from scipy.stats import norm

    x = torch.linspace(-4, 4, 33, dtype=torch.float64)
    np.testing.assert_allclose(activation_module("erf")(x).numpy(), 2 * norm.cdf(x.numpy()) - 1, atol=1e-14)
