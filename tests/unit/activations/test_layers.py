"""Names and globs of layers, calls of one forward pass, and the dry run for estimates."""

from __future__ import annotations

import pytest
import torch
from activation_networks import InPlaceNet, TokenNet
from torch import nn

from rra_cli.activations.capture import Request, feature_shapes, resolve_layers
from rra_cli.activations.hooks import output_tensor, trace
from rra_cli.activations.pooling import Pooling
from rra_cli.errors import UserError

SHAPE = (1, 8, 8)


def test_order_is_that_of_execution_where_it_is_known() -> None:
    net = InPlaceNet()
    names = ["head", "blocks.1", "stem", "blocks.0.conv"]
    assert resolve_layers(net, names, input_shape=SHAPE) == ["stem", "blocks.0.conv", "blocks.1", "head"]
    # Negative control: this network is registered in another order than it runs.
    assert resolve_layers(net, names) == ["head", "stem", "blocks.0.conv", "blocks.1"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("blocks.*", ["blocks.0", "blocks.1"]),
        ("blocks.*.conv", ["blocks.0.conv", "blocks.1.conv"]),
        ("**.norm", ["blocks.0.norm", "blocks.1.norm"]),
        ("blocks.[1-9].c*", ["blocks.1.conv"]),
        ("?ead", ["head"]),
        ("blocks.**.relu@2", ["blocks.0.relu@2", "blocks.1.relu@2"]),
        ("**.relu", ["blocks.0.relu@1", "blocks.0.relu@2", "blocks.1.relu@1", "blocks.1.relu@2"]),
        ("stem@1", ["stem"]),
        ("blocks.0.relu@2", ["blocks.0.relu@2"]),
    ],
)
def test_globs_match_within_one_component_and_name_every_call(pattern: str, expected: list[str]) -> None:
    assert resolve_layers(InPlaceNet(), [pattern], input_shape=SHAPE) == expected


def test_star_is_all_leaves_that_are_called() -> None:
    calls = [f"blocks.{i}.{part}" for i in range(2) for part in ("relu@1", "conv", "norm", "relu@2")]
    assert resolve_layers(InPlaceNet(), ["*"], input_shape=SHAPE) == ["stem", *calls, "drop", "head"]
    assert "unused" in resolve_layers(InPlaceNet(), ["*"])  # not known without a forward pass


def test_overlapping_patterns_name_a_layer_once() -> None:
    found = resolve_layers(InPlaceNet(), ["stem", "*", "st*", "stem@1"], input_shape=SHAPE)
    assert len(found) == len(set(found)) == 11


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("hed", "the network has no module 'hed': did you mean 'head'?"),
        ("blocks.0.cnov", "the network has no module 'blocks.0.cnov': did you mean 'blocks.0.conv'"),
        ("hed@2", "the network has no module 'hed': did you mean 'head'?"),
        ("stm*", "layer pattern 'stm*' matches no module of the network: did you mean 'stem'?"),
        ("unuse?", "layer pattern 'unuse?' matches no module whose output can be captured: known: blocks"),
    ],
)
def test_patterns_that_name_nothing(pattern: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve_layers(InPlaceNet(), [pattern], input_shape=SHAPE)
    assert caught.value.message.startswith(message)
    assert caught.value.hint == "layers are named as in module.named_modules()"


def test_feature_shapes() -> None:
    net = InPlaceNet()
    requests = [Request("input", ""), Request("a", "stem"), Request("b", "blocks.1.relu@2"), Request("c", "head")]
    shapes = feature_shapes(net, requests, SHAPE)
    assert [shapes[request] for request in requests] == [(1, 8, 8), (4, 8, 8), (4, 8, 8), (5,)]
    tokens = [Request("norm", "norm", Pooling(pool)) for pool in ("none", "cls", "mean", "last")]
    assert list(feature_shapes(TokenNet(), tokens, (3, 4)).values()) == [(3, 4), (4,), (4,), (4,)]


def test_a_dry_run_leaves_no_trace() -> None:
    class Counting(InPlaceNet):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))
            self.register_buffer("nothing", None)
            self.frozen = nn.BatchNorm2d(4).eval()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen += len(x)  # a network that counts even in evaluation mode
            self.seen = self.seen + 1  # and puts a new tensor in the buffer's place
            torch.rand(3)  # and draws random numbers
            return super().forward(x)

    net = Counting().train()
    net.frozen.eval()
    state = {key: value.clone() for key, value in net.state_dict().items()}
    seen, generator = net.seen, torch.get_rng_state()
    feature_shapes(net, [Request("a", "stem")], SHAPE)
    resolve_layers(net, ["*"], input_shape=SHAPE)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert net.seen is seen
    assert torch.equal(torch.get_rng_state(), generator)
    assert net.training
    assert net.blocks[0].norm.training
    assert not net.frozen.training
    assert not any(child._forward_hooks for child in net.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())


def test_trace_leaves_the_inputs_and_counts_calls() -> None:
    x = torch.ones(2, *SHAPE)
    calls = trace(InPlaceNet(), x)
    assert torch.equal(x, torch.ones(2, *SHAPE))  # the network doubles its input in place
    assert [(call.number, call.total) for call in calls if call.name == "blocks.0.relu"] == [(1, 2), (2, 2)]
    assert calls[-1].reference == "head"


def test_what_counts_as_the_output_of_a_module() -> None:
    x = torch.zeros(3, 2)
    for output in (x, (x, None), [x], {"hidden": x, "cache": "no tensor"}, (x, (torch.zeros(1), torch.zeros(1)))):
        assert output_tensor(output, 3)[0] is x
    tensor, problem = output_tensor(torch.zeros(3), 3)
    assert tensor is not None
    assert (tensor.shape, problem) == ((3, 1), "")


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ((torch.zeros(3), torch.zeros(3)), "its output is a tuple of 2 tensors, expected one"),
        ({"a": 1}, "its output is a dict of 0 tensors, expected one"),
        (None, "its output is a NoneType, expected a tensor"),
        (torch.zeros(()), "its output has shape (), expected one row for each of the 3 samples"),
        (torch.zeros(2, 3), "its output has shape (2, 3), expected one row for each of the 3 samples"),
        (torch.zeros(3, dtype=torch.complex64), "its output is complex, expected real numbers"),
        (torch.eye(3).to_sparse(), "its output is not a dense tensor"),
    ],
)
def test_outputs_that_cannot_be_captured(output: object, problem: str) -> None:
    assert output_tensor(output, 3) == (None, problem)
