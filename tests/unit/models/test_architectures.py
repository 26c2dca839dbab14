"""Every architecture against its published size, and laws that all of them keep."""

from __future__ import annotations

import dataclasses
from math import prod

import pytest
import torch
from torch import nn

from rra_cli.core.component import components
from rra_cli.errors import UserError
from rra_cli.models.convnet import ConvNetSmall
from rra_cli.models.encoder import Encoder, Layer
from rra_cli.models.lenet import LeNet5, LeNetRMQM
from rra_cli.models.mlp import MLP
from rra_cli.models.model import Model
from rra_cli.models.parts import activation_module
from rra_cli.models.resnet import PadShortcut, ResNet18, ResNet20, ResNet34
from rra_cli.models.resnet_rmqm import ResNet18RMQM

RGB, GREY, DIGIT = (3, 32, 32), (1, 28, 28), (1, 8, 8)
# A small image size that fits the architecture; 32x32 RGB where none is named.
SHAPES: dict[str, tuple[int, int, int]] = {
    "resnet20": (3, 16, 16),
    "resnet18": (3, 8, 8),
    "resnet34": (3, 8, 8),
    "resnet18_rmqm": (3, 8, 8),
    "lenet5": GREY,
    "lenet_rmqm": GREY,
    "mlp": DIGIT,
    "convnet_small": DIGIT,
}
OURS = {name: cls for name, cls in components("model").items() if cls.__module__.startswith("rra_cli.")}


def shape_of(name: str) -> tuple[int, int, int]:
    return SHAPES.get(name, RGB)


def n_parameters(encoder: Encoder) -> int:
    return sum(parameter.numel() for parameter in encoder.module.parameters())


def outputs(encoder: Encoder, images: torch.Tensor, *, copy: bool = False) -> dict[str, torch.Tensor]:
    """What every named layer and every other module gives for these images (copied at once, or as it is at the end)."""
    found: dict[str, torch.Tensor] = {}

    def keep(name: str):
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            assert name not in found, f"{name} is used twice"
            found[name] = output.detach().clone() if copy else output.detach()

        return hook

    handles = [part.register_forward_hook(keep(name)) for name, part in encoder.module.named_modules() if name]
    with torch.no_grad():
        found[""] = encoder.module(images)
    for handle in handles:
        handle.remove()
    return found


def feature_counts(encoder: Encoder, input_shape: tuple[int, int, int]) -> list[int]:
    encoder.module.eval()
    found = outputs(encoder, torch.randn(2, *input_shape))
    return [prod(input_shape), *(found[layer.module][0].numel() for layer in encoder.layers[1:])]


@pytest.mark.parametrize(
    ("model", "shape", "published"),
    [
        (ResNet20(), RGB, 272_474),  # RRA thesis, ch. 7
        (ResNet20(shortcut="pad"), RGB, 269_722),  # He et al. 2016: "0.27M"
        (ResNet18(), RGB, 11_173_962),  # kuangliu/pytorch-cifar's ResNet18
        (ResNet34(), RGB, 21_282_122),
        (
            LeNet5(),
            GREY,
            156 + 2_416 + 48_120 + 10_164 + 850,
        ),  # LeCun 1998 per layer; c3 fully connected; linear output
        (LeNet5(), (1, 32, 32), 61_706),
    ],
)
def test_parameter_counts_are_the_published_ones(model: Model, shape: tuple[int, int, int], published: int) -> None:
    assert n_parameters(model.build(shape, 10)) == published


@pytest.mark.parametrize("shortcut", ["projection", "pad"])
def test_resnet20_has_the_layers_of_the_thesis_table_4_1(shortcut: str) -> None:
    encoder = ResNet20(shortcut=shortcut).build(RGB, 10)
    assert feature_counts(encoder, RGB) == [3072, *[16384] * 4, *[8192] * 3, *[4096] * 3, 64, 10]
    assert [layer.name for layer in encoder.layers] == [
        "input",
        "neck",
        *(f"stage{stage}.block{block}" for stage in (1, 2, 3) for block in (1, 2, 3)),
        "gap",
        "logits",
    ]
    assert [layer.stage for layer in encoder.layers] == [
        "input",
        *["stage1"] * 4,
        *["stage2"] * 3,
        *["stage3"] * 3,
        *["head"] * 2,
    ]


@pytest.mark.parametrize(
    ("model", "shape", "counts"),
    [
        # LeCun 1998, fig. 2: 6@28x28, 6@14x14, 16@10x10, 16@5x5, 120, 84, 10.
        (LeNet5(), GREY, [784, 4704, 1176, 1600, 400, 120, 84, 10]),
        # reference: flatten 256, MLP 256-512-512-512-embedding.
        (LeNetRMQM(embedding=64), GREY, [784, 6 * 24**2, 6 * 12**2, 16 * 8**2, 256, 512, 512, 512, 64, 10]),
        (ResNet18(), RGB, [3072, *[65536] * 3, *[32768] * 2, *[16384] * 2, *[8192] * 2, 512, 10]),
        (ResNet34(), RGB, [3072, *[65536] * 4, *[32768] * 4, *[16384] * 6, *[8192] * 3, 512, 10]),
        # reference: MLP 512-1024-1024-embedding on the pooled features.
        (
            ResNet18RMQM(embedding=16),
            RGB,
            [3072, *[65536] * 3, *[32768] * 2, *[16384] * 2, *[8192] * 2, 512, 1024, 1024, 16, 10],
        ),
        (MLP(width=100, depth=2), DIGIT, [64, 100, 100, 10]),
        (ConvNetSmall(), DIGIT, [64, *[1024] * 2, *[512] * 2, *[256] * 2, 64, 10]),
    ],
)
def test_layers_have_the_published_feature_counts(model: Model, shape: tuple[int, int, int], counts: list[int]) -> None:
    assert feature_counts(model.build(shape, 10), shape) == counts


@pytest.mark.parametrize("name", sorted(OURS))
class TestEveryArchitecture:
    def test_the_last_layer_is_the_output_with_one_number_per_class(self, name: str) -> None:
        encoder = OURS[name]().build(shape_of(name), 7)
        encoder.module.eval()
        found = outputs(encoder, torch.randn(3, *shape_of(name)))
        assert found[encoder.layers[-1].module].shape == (3, 7)
        assert torch.equal(found[encoder.layers[-1].module], found[""])

    def test_every_module_can_be_captured(self, name: str) -> None:
        """No module is skipped or used twice, and no output is changed in place by a later module."""
        encoder = OURS[name]().build(shape_of(name), 10)
        encoder.module.eval()
        images = torch.randn(2, *shape_of(name))
        kept, copied = outputs(encoder, images), outputs(encoder, images, copy=True)
        assert set(kept) == {name for name, _ in encoder.module.named_modules()}
        for module in kept:
            assert torch.equal(kept[module], copied[module]), f"{module} is changed in place"

    def test_gradients_reach_every_parameter(self, name: str) -> None:
        encoder = OURS[name]().build(shape_of(name), 10)
        encoder.module(torch.randn(4, *shape_of(name))).square().sum().backward()
        for parameter_name, parameter in encoder.module.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert torch.isfinite(parameter.grad).all(), parameter_name
            # A batch norm's bias or a convolution before one may have a gradient of rounding size, but never none.
            assert parameter.grad.abs().sum() > 0, parameter_name

    @pytest.mark.parametrize("activation", ["relu", "gelu", "sigmoid", "tanh"])
    def test_the_activation_is_the_one_asked_for(self, name: str, activation: str) -> None:
        kinds = {type(activation_module(other)) for other in ("relu", "gelu", "sigmoid", "tanh")}
        module = OURS[name](activation=activation).build(shape_of(name), 10).module
        assert {type(part) for part in module.modules()} & kinds == {type(activation_module(activation))}

    def test_the_seed_decides_the_weights(self, name: str) -> None:
        def weights(seed: int) -> torch.Tensor:
            torch.manual_seed(seed)
            return next(iter(OURS[name]().build(shape_of(name), 10).module.parameters()))

        assert torch.equal(weights(0), weights(0))
        assert not torch.equal(weights(0), weights(1))

    def test_twice_as_wide_has_twice_the_features(self, name: str) -> None:
        single, double = (OURS[name](width_multiplier=w).build(shape_of(name), 10) for w in (1.0, 2.0))
        first, second = (feature_counts(encoder, shape_of(name)) for encoder in (single, double))
        fixed = {"input", "logits", "embedding"}
        for layer, a, b in zip(single.layers, first, second, strict=True):
            assert b == (a if layer.name in fixed else 2 * a), layer.name

    def test_without_classes_the_output_is_the_representation(self, name: str) -> None:
        """The same network without what comes behind its representation: with equal weights, the same numbers."""
        whole, headless = (OURS[name]().build(shape_of(name), n) for n in (7, 0))
        assert headless.layers == whole.layers[: len(headless.layers)]
        assert headless.layers[-1].name == headless.representation == whole.representation
        assert headless.n_features == whole.n_features > 0
        headless.module.load_state_dict(
            {key: value for key, value in whole.module.state_dict().items() if key in headless.module.state_dict()}
        )
        for encoder in (whole, headless):
            encoder.module.eval()
        images = torch.randn(3, *shape_of(name))
        inside, alone = outputs(whole, images)[whole.representation_module], outputs(headless, images)[""]
        assert alone.shape == (3, whole.n_features)
        assert torch.equal(alone, inside)
        assert not [key for key in headless.module.state_dict() if key.startswith("logits")]

    def test_layer_stages_are_contiguous(self, name: str) -> None:
        stages = [layer.stage for layer in OURS[name]().build(shape_of(name), 10).layers]
        assert all(stages)
        starts = [stage for stage, before in zip(stages, ["", *stages], strict=False) if stage != before]
        assert len(starts) == len(set(starts))

    def test_multipliers_lie_within_reason(self, name: str) -> None:
        multipliers = [field.name for field in dataclasses.fields(OURS[name]) if field.name.endswith("_multiplier")]
        assert multipliers
        for multiplier in multipliers:
            for value in (0.0, 65.0, float("nan")):
                with pytest.raises(ValueError, match=f"{multiplier} is {value}; it lies above 0 and at most at 64"):
                    OURS[name](**{multiplier: value})


@pytest.mark.parametrize(("model", "extra"), [(ResNet20(depth_multiplier=2.0), 9), (MLP(depth_multiplier=2.0), 3)])
def test_twice_as_deep_has_twice_the_blocks(model: Model, extra: int) -> None:
    shape = shape_of(model.name)
    shallow = dataclasses.replace(model, depth_multiplier=1.0).build(shape, 10)
    assert len(model.build(shape, 10).layers) == len(shallow.layers) + extra


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (LeNet5(), DIGIT, "model=lenet5 takes images of 28x28 or 32x32 pixels, but the data set's images are 1x8x8"),
        (LeNet5(), (1, 32, 28), "28x28 or 32x32"),
        (LeNetRMQM(), (3, 15, 32), "at least 16x16 pixels, but the data set's images are 3x15x32"),
        (ResNet20(), (3, 3, 8), "at least 4x4 pixels"),
        (ResNet18(), (3, 7, 7), "at least 8x8 pixels"),
        (ResNet18RMQM(), (3, 7, 8), "model=resnet18_rmqm takes images of at least 8x8 pixels"),
        (ConvNetSmall(), (1, 3, 3), "at least 4x4 pixels"),
    ],
)
def test_images_that_do_not_fit_are_refused(model: Model, shape: tuple[int, int, int], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        model.build(shape, 10)
    assert caught.value.hint is not None
    assert "rra ls model" in caught.value.hint


def test_a_change_in_place_would_be_seen() -> None:
    """Negative control of the test above."""
    encoder = Encoder(nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True)), (Layer("input", ""),))
    images = torch.randn(8, 4)
    assert not torch.equal(outputs(encoder, images)["0"], outputs(encoder, images, copy=True)["0"])


def test_wrong_sizes_are_refused_at_birth() -> None:
    for model in (LeNetRMQM, ResNet18RMQM):
        with pytest.raises(ValueError, match="embedding is 0; at least 1"):
            model(embedding=0)
    with pytest.raises(ValueError, match="width is 0 and depth 3"):
        MLP(width=0)


def test_lenet5_pads_with_the_border_so_both_sizes_of_an_image_give_the_same() -> None:
    """A 28x28 image inside equals its 32x32 version outside; padding with zeros does not (negative control)."""
    torch.manual_seed(0)
    small, large = LeNet5().build((1, 28, 28), 10), LeNet5().build((1, 32, 32), 10)
    large.module.load_state_dict(small.module.state_dict())
    image = torch.full((1, 1, 28, 28), -0.42)
    image[:, :, 8:20, 8:20] = 2.8
    with torch.no_grad():
        same = large.module(nn.functional.pad(image, (2, 2, 2, 2), value=-0.42))
        zeros = large.module(nn.functional.pad(image, (2, 2, 2, 2)))
        assert torch.equal(small.module(image), same)
        assert not torch.equal(small.module(image), zeros)


def test_the_rmqm_embedding_is_taken_before_the_activation() -> None:
    encoder = LeNetRMQM().build(GREY, 10)
    found = outputs(encoder, torch.randn(4, *GREY))
    assert (found["embedding"] < 0).any()
    assert torch.equal(found["classifier_activation"], found["embedding"].relu())


def test_a_residual_block_adds_its_shortcut() -> None:
    encoder = ResNet20(shortcut="pad").build(RGB, 10)
    encoder.module.eval()
    found = outputs(encoder, torch.randn(2, *RGB))
    skipped = found["stage1.block3"][:, :, ::2, ::2]
    block = "stage2.block1"
    assert torch.equal(found[f"{block}.sum"][:, :16], found[f"{block}.norm2"][:, :16] + skipped)
    assert torch.equal(found[f"{block}.sum"][:, 16:], found[f"{block}.norm2"][:, 16:])
    assert torch.equal(found[block], found[f"{block}.sum"].relu())


def test_the_padded_shortcut_handles_odd_sides() -> None:
    assert PadShortcut(2, 5, 2)(torch.ones(1, 2, 7, 7)).shape == (1, 5, 4, 4)


def test_he_initialisation_keeps_the_variance() -> None:
    """A convolution drawn from N(0, 2 / fan_in) has that standard deviation; torch's default is 2.4 times smaller."""
    torch.manual_seed(0)
    weight = ResNet20().build(RGB, 10).module.get_parameter("stage3.block2.conv1.weight")
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert nn.Conv2d(64, 64, 3).weight.std().item() == pytest.approx((1 / (3 * 64 * 9)) ** 0.5, rel=0.02)


def test_an_encoder_checks_its_layers() -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="layer 0 of an encoder"):
        Encoder(module, (Layer("0", "0"),))
    with pytest.raises(ValueError, match="layer names repeat"):
        Encoder(module, (Layer("input", ""), Layer("a", "0"), Layer("a", "0")))
    with pytest.raises(ValueError, match="names the module 'nope', which does not exist"):
        Encoder(module, (Layer("input", ""), Layer("a", "nope")))
    with pytest.raises(ValueError, match="representation 'b' is none of the layers"):
        Encoder(module, (Layer("input", ""), Layer("a", "0")), "b")
    with pytest.raises(ValueError, match="n_features is -1"):
        Encoder(module, (Layer("input", ""), Layer("a", "0")), n_features=-1)


def test_the_last_layer_is_the_representation_where_none_is_named() -> None:
    layers = (Layer("input", ""), Layer("a", "0"), Layer("b", "1"))
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert Encoder(module, layers).representation == "b"
    assert Encoder(module, layers).representation_module == "1"
    assert Encoder(module, layers, "a").representation_module == "0"


def test_both_rmqm_networks_take_the_embedding_before_the_classifiers_activation() -> None:
    for model, shape in ((LeNetRMQM(embedding=16), GREY), (ResNet18RMQM(embedding=16), (3, 8, 8))):
        encoder = model.build(shape, 10)
        encoder.module.eval()
        found = outputs(encoder, torch.randn(4, *shape))
        assert encoder.representation == "embedding"
        assert (found["embedding"] < 0).any()
        assert torch.equal(found["classifier_activation"], found["embedding"].relu())
