"""Second derivatives are right for the operations that networks are made of, also where torch's own rules are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from rra_cli.errors import UserError
from rra_cli.pullback import plain_operations
from rra_cli.pullback.curvature import scalar_curvature
from rra_cli.pullback.second_derivatives import (
    Derivatives,
    agreement,
    checked_way,
    flat,
    forward_over_forward,
    reverse_twice,
)

Rows = Callable[[torch.Tensor], torch.Tensor]

# Module or function, shape of one input.
MAPS: dict[str, tuple[Rows, tuple[int, ...]]] = {
    "linear": (nn.Linear(4, 3), (4,)),
    "convolution": (nn.Conv2d(2, 3, 3, stride=2, padding=1), (2, 5, 5)),
    "transposed": (nn.ConvTranspose2d(2, 3, 3), (2, 4, 4)),
    "batch_norm": (nn.BatchNorm2d(2), (2, 4, 4)),
    "gelu": (nn.GELU(), (4,)),
    "gelu_tanh": (nn.GELU("tanh"), (4,)),
    "sigmoid": (nn.Sigmoid(), (4,)),
    "tanh": (nn.Tanh(), (4,)),
    "softplus": (nn.Softplus(), (4,)),
    "elu": (nn.ELU(), (4,)),
    "selu": (nn.SELU(), (4,)),
    "silu": (nn.SiLU(), (4,)),
    "mish": (nn.Mish(), (4,)),
    "glu": (nn.GLU(), (6,)),
    "hardswish": (nn.Hardswish(), (4,)),
    "hardsigmoid": (nn.Hardsigmoid(), (4,)),
    "softmax": (nn.Softmax(1), (4,)),
    "log_softmax": (nn.LogSoftmax(1), (4,)),
    "layer_norm": (nn.LayerNorm((3, 4)), (2, 3, 4)),
    "group_norm": (nn.GroupNorm(2, 4), (4, 3, 3)),
    "instance_norm": (nn.InstanceNorm2d(3, affine=True), (3, 4, 4)),
    "instance_norm_running": (nn.InstanceNorm2d(3, track_running_stats=True), (3, 4, 4)),
    "rms_norm": (nn.RMSNorm(4), (4,)),
    "response_norm": (nn.LocalResponseNorm(2), (4, 3, 3)),
    "average_pool": (nn.AvgPool2d(2), (2, 6, 6)),
    "pool_of_the_border": (lambda x: functional.avg_pool2d(x, 4, ceil_mode=True, count_include_pad=False), (2, 6, 6)),
    "adaptive_pool": (nn.AdaptiveAvgPool2d(2), (2, 6, 6)),
    "max_pool": (nn.MaxPool2d(2), (2, 6, 6)),
    "normalise": (functional.normalize, (5,)),
    "attention": (lambda x: functional.scaled_dot_product_attention(x, x, x.sin()), (2, 5, 4)),
    "transformer": (nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, activation="gelu"), (3, 8)),
}


def ready(f: Rows) -> Rows:
    """In float64 and evaluation mode, with an affine part that does something."""
    torch.manual_seed(0)
    if isinstance(f, nn.Module):
        f = f.double().eval().requires_grad_(False)
        for name, value in (*f.named_parameters(), *f.named_buffers()):
            if "norm" in type(f).__name__.lower() and value.is_floating_point():
                value.uniform_(0.5, 1.5) if "var" in name or "weight" in name else value.normal_()
    # So that every map has second derivatives.
    return lambda x: f(torch.sin(x) + x)


def draw(shape: tuple[int, ...], b: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Points and two directions of length 1."""
    generator = torch.Generator().manual_seed(1)
    x, u, v = torch.randn(3, b, *shape, dtype=torch.float64, generator=generator)
    sides = [1] * len(shape)
    return x, *(w / w.flatten(1).norm(dim=1).reshape(b, *sides) for w in (u, v))


def differences(f: Rows, x: torch.Tensor, u: torch.Tensor, v: torch.Tensor, h: float = 1e-4) -> Derivatives:
    """Central differences of values only."""

    def at(i: int, j: int) -> torch.Tensor:
        return f(x + h * (i * u + j * v)).reshape(len(x), -1)

    return Derivatives(
        ((at(1, 0) - at(-1, 0)) / (2 * h),),
        ((at(0, 1) - at(0, -1)) / (2 * h),),
        ((at(1, 0) - 2 * at(0, 0) + at(-1, 0)) / h**2,),
        ((at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / (4 * h**2),),
        ((at(0, 1) - 2 * at(0, 0) + at(0, -1)) / h**2,),
    )


@pytest.mark.parametrize("name", MAPS)
def test_derivatives_are_those_of_finite_differences(name: str) -> None:
    f, shape = ready(MAPS[name][0]), MAPS[name][1]
    x, u, v = draw(shape)
    assert checked_way(flat(f), x, u, v) is forward_over_forward
    with torch.no_grad():
        expected = differences(f, x, u, v)
    found = forward_over_forward(flat(f), x, u, v)
    for part, tolerance in (("u", 1e-7), ("v", 1e-7), ("uu", 1e-5), ("uv", 1e-5), ("vv", 1e-5)):
        ours, theirs = getattr(found, part)[0], getattr(expected, part)[0]
        np.testing.assert_allclose(ours, theirs, atol=tolerance * max(1.0, float(theirs.abs().max())))
    assert float(expected.uv[0].abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("plain", "theirs", "shape"),
    [
        (plain_operations.silu, functional.silu, (5,)),
        (plain_operations.mish, functional.mish, (5,)),
        (plain_operations.glu, functional.glu, (6,)),
        (plain_operations.hardsigmoid, functional.hardsigmoid, (5,)),
    ],
)
def test_the_plain_operations_have_the_values_of_torch(plain: Rows, theirs: Rows, shape: tuple[int, ...]) -> None:
    x = 4 * draw(shape)[0]
    np.testing.assert_allclose(plain(x), theirs(x), rtol=1e-14, atol=1e-15)


def test_the_plain_normalisations_have_the_values_of_torch() -> None:
    x = draw((3, 4, 5))[0] * 3 + 1
    weight, bias = torch.rand(2, 4, 5, dtype=torch.float64)
    ours = plain_operations.layer_norm(x, (4, 5), weight, bias, 0.1)
    np.testing.assert_allclose(ours, functional.layer_norm(x, (4, 5), weight, bias, 0.1), rtol=1e-12)
    weight, bias, mean, variance = torch.rand(4, 3, dtype=torch.float64)
    for statistics in (True, False):
        ours = plain_operations.instance_norm(x, mean, variance, weight, bias, statistics, 0.1, 0.01)
        theirs = functional.instance_norm(x, mean.clone(), variance.clone(), weight, bias, statistics, 0.1, 0.01)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("name", ["gelu", "silu", "max_pool", "linear", "softmax"])
def test_reverse_mode_gives_the_same(name: str) -> None:
    f, shape = ready(MAPS[name][0]), MAPS[name][1]
    x, u, v = draw(shape)
    one, other = forward_over_forward(flat(f), x, u, v), reverse_twice(flat(f), x, u, v)
    for part in ("u", "v", "uu", "uv", "vv"):
        np.testing.assert_allclose(getattr(other, part)[0], getattr(one, part)[0], rtol=1e-12, atol=1e-13)
    linear = reverse_twice(flat(lambda x: x * 3), x, u, v)
    assert not linear.uu[0].any()
    np.testing.assert_allclose(linear.u[0], 3 * u.flatten(1))


def test_several_outputs_go_through_either_way() -> None:
    x, u, v = draw((3,))
    f = flat(lambda x: [x.sin(), x[:, :2].square(), torch.ones(len(x), 2, 2, dtype=x.dtype), 2 * x])
    one, other = forward_over_forward(f, x, u, v), reverse_twice(f, x, u, v)
    for part in ("u", "v", "uu", "uv", "vv"):
        for ours, theirs in zip(getattr(one, part), getattr(other, part), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(one.uv[0], -x.sin() * u * v, rtol=1e-12)
    assert [tuple(value.shape) for value in one.vv] == [(4, 3), (4, 2), (4, 4), (4, 3)]


class OnlyBackward(torch.autograd.Function):
    """exp without a rule for forward mode."""

    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)  # type: ignore[attr-defined]
        return x.exp()

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * ctx.saved_tensors[0].exp()  # type: ignore[attr-defined]


class WrongForward(torch.autograd.Function):
    """exp with a rule for forward mode that takes its own factor for a constant: right once, wrong twice."""

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        return x.exp()

    @staticmethod
    def setup_context(ctx: object, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        ctx.save_for_backward(inputs[0])  # type: ignore[attr-defined]
        ctx.save_for_forward(inputs[0])  # type: ignore[attr-defined]

    @staticmethod
    def jvp(ctx: object, tangent: torch.Tensor) -> torch.Tensor:
        return tangent * ctx.saved_tensors[0].detach().exp()  # type: ignore[attr-defined]

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * ctx.saved_tensors[0].exp()  # type: ignore[attr-defined]


@pytest.mark.parametrize("function", [OnlyBackward, WrongForward])
def test_a_missing_or_wrong_rule_is_seen_and_reverse_mode_takes_its_place(
    function: type[torch.autograd.Function],
) -> None:
    x, u, v = draw((3,))

    def f(x: torch.Tensor) -> torch.Tensor:
        return function.apply(x)

    assert checked_way(flat(f), x, u, v) is reverse_twice
    assert checked_way(flat(torch.exp), x, u, v) is forward_over_forward
    points = torch.randn(9, 2, dtype=torch.float64)
    found = scalar_curvature(lambda x: torch.cat([f(x), x.prod(1, keepdim=True)], 1), points)
    right = scalar_curvature(lambda x: torch.cat([x.exp(), x.prod(1, keepdim=True)], 1), points)
    np.testing.assert_allclose(found.value, right.value, rtol=1e-10)
    assert np.abs(right.value).max() > 0.01


@pytest.mark.parametrize("part", ["u", "v", "uu", "uv", "vv"])
def test_each_of_the_five_derivatives_is_compared_with_differences(part: str) -> None:
    """One that is wrong by a twentieth is seen; the right ones are the control."""
    f = flat(lambda x: torch.cat([x.sin(), x.prod(1, keepdim=True)], 1))
    where = draw((3,))
    found = forward_over_forward(f, *where)
    assert agreement(f, forward_over_forward, found, *where) == [True] * 4
    wrong = replace(found, **{part: tuple(1.05 * value for value in getattr(found, part))})
    assert agreement(f, forward_over_forward, wrong, *where) == [False] * 4


@pytest.mark.parametrize("name", ["layer_norm", "instance_norm", "silu", "transformer", "gelu"])
def test_no_rule_of_torch_is_believed_unseen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the plain operations, what torch gets wrong (layer norm, in 2.13) is refused, and the rest is right."""
    monkeypatch.setattr(plain_operations, "_PLAIN", {})
    f, shape = ready(MAPS[name][0]), MAPS[name][1]
    x, u, v = draw(shape)
    try:
        way = checked_way(flat(f), x, u, v)
    except UserError:
        assert name != "gelu"
    else:
        with torch.no_grad():
            expected = differences(f, x, u, v)
        np.testing.assert_allclose(way(flat(f), x, u, v).uv[0], expected.uv[0], atol=1e-5)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * torch.rand_like(x),
        lambda x: x * x.mean(0, keepdim=True),
        lambda x: x.detach().sin(),
    ],
    ids=["random", "depends on the batch", "detached"],
)
def test_what_has_no_derivatives_is_refused(f: Rows) -> None:
    with pytest.raises(UserError, match="second derivatives of this map cannot be taken: its derivatives differ"):
        checked_way(flat(f), *draw((3,)))


def test_kinks_are_no_wrong_rules() -> None:
    """A ReLU network with one of the four points on a kink; the check goes by most of the points."""
    x, u, v = draw((3,))
    x[0] = 0.0
    f = flat(lambda x: torch.relu(x).square() + torch.relu(x))
    assert checked_way(f, x, u, v) is forward_over_forward


def test_attention_is_as_it_was_afterwards() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    with plain_operations.plain_operations():
        assert not torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mha.get_fastpath_enabled() == before
