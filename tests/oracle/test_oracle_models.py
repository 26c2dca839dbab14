"""Parameter counts and layer shapes against the papers and against arithmetic."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from rra_cli.core.component import component, components  # noqa: E402
from rra_cli.models.encoder import Encoder  # noqa: E402

CIFAR = (3, 32, 32)
MNIST = (1, 28, 28)


def build(name: str, shape: tuple[int, int, int] = CIFAR, n_classes: int = 10, **fields: object) -> Encoder:
    torch.manual_seed(0)
    return component("model", name)(**fields).build(shape, n_classes)


def n_parameters(encoder: Encoder) -> int:
    return sum(p.numel() for p in encoder.module.parameters() if p.requires_grad)


def layer_outputs(encoder: Encoder, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """What forward hooks on the named layers see, one value for every layer, in eval mode."""
    seen: dict[str, torch.Tensor] = {"input": x}
    modules = dict(encoder.module.named_modules())
    hooks = []
    for layer in encoder.layers[1:]:

        def remember(_: object, __: object, output: torch.Tensor, name: str = layer.name) -> None:
            assert name not in seen, f"layer {name} runs twice in one forward pass"
            seen[name] = output.detach().clone()

        hooks.append(modules[layer.module].register_forward_hook(remember))
    encoder.module.eval()
    with torch.no_grad():
        encoder.module(x)
    for hook in hooks:
        hook.remove()
    return {layer.name: seen[layer.name] for layer in encoder.layers}


def n_features(encoder: Encoder, shape: tuple[int, int, int]) -> list[int]:
    outputs = layer_outputs(encoder, torch.randn(2, *shape))
    return [math.prod(out.shape[1:]) for out in outputs.values()]


def resnet_parameters(widths: list[int], blocks: list[int], channels: int, classes: int, projection: bool) -> int:
    """By hand: 3x3 convolutions without bias, batch norm of 2 per channel, 1x1 projections with batch norm."""
    total = 9 * channels * widths[0] + 2 * widths[0]
    before = widths[0]
    for width, count in zip(widths, blocks, strict=True):
        for _ in range(count):
            total += 9 * before * width + 2 * width + 9 * width * width + 2 * width
            if before != width and projection:
                total += before * width + 2 * width
            before = width
    return total + widths[-1] * classes + classes


@pytest.mark.parametrize(
    ("name", "fields", "published", "by_hand"),
    [
        ("resnet20", {"shortcut": "projection"}, 272_474, ([16, 32, 64], [3, 3, 3], 3, 10, True)),
        ("resnet20", {"shortcut": "pad"}, 269_722, ([16, 32, 64], [3, 3, 3], 3, 10, False)),
        ("resnet18", {}, 11_173_962, ([64, 128, 256, 512], [2, 2, 2, 2], 3, 10, True)),
        ("resnet34", {}, 21_282_122, ([64, 128, 256, 512], [3, 4, 6, 3], 3, 10, True)),
    ],
    ids=["resnet20-projection", "resnet20-pad", "resnet18", "resnet34"],
)
def test_resnet_parameters(name: str, fields: dict, published: int, by_hand: tuple) -> None:
    assert n_parameters(build(name, **fields)) == published == resnet_parameters(*by_hand)


def test_resnet20_default_is_the_thesis_and_scales() -> None:
    """Projection by default; other class and channel counts by the same arithmetic; sqrt(2) wide and 2x deep."""
    assert n_parameters(build("resnet20")) == 272_474
    expected = resnet_parameters([16, 32, 64], [3, 3, 3], 1, 7, True)
    assert n_parameters(build("resnet20", MNIST, 7)) == expected
    double = resnet_parameters([32, 64, 128], [3, 3, 3], 3, 10, True)
    assert n_parameters(build("resnet20", width_multiplier=2.0)) == double
    deep = resnet_parameters([16, 32, 64], [6, 6, 6], 3, 10, True)
    assert n_parameters(build("resnet20", depth_multiplier=2.0)) == deep


@pytest.mark.parametrize("shortcut", ["projection", "pad"])
def test_resnet20_has_the_13_layers_of_the_thesis(shortcut: str) -> None:
    """Table 4.1: input, neck and 3 blocks of 16x32x32, 3 of 32x16x16, 3 of 64x8x8, GAP, logits."""
    encoder = build("resnet20", shortcut=shortcut)
    outputs = layer_outputs(encoder, torch.randn(2, *CIFAR))
    shapes = [tuple(out.shape[1:]) for out in outputs.values()]
    assert shapes[:11] == [CIFAR] + [(16, 32, 32)] * 4 + [(32, 16, 16)] * 3 + [(64, 8, 8)] * 3
    assert [math.prod(shape) for shape in shapes] == [3072] + [16384] * 4 + [8192] * 3 + [4096] * 3 + [64, 10]
    assert all((out >= 0).all() for out in list(outputs.values())[1:12]), "layers 1-11 follow a ReLU"
    assert (list(outputs.values())[12] < 0).any(), "logits do not"


def test_pooled_layer_is_the_mean_of_the_last_map_and_logits_are_linear_in_it() -> None:
    encoder = build("resnet20")
    outputs = list(layer_outputs(encoder, torch.randn(3, *CIFAR)).values())
    torch.testing.assert_close(outputs[11].flatten(1), outputs[10].mean(dim=(2, 3)))
    with torch.no_grad():
        torch.testing.assert_close(encoder.module(outputs[0]), outputs[12])


def test_pad_shortcut_takes_every_second_pixel_and_adds_zero_channels() -> None:
    """With the residual branch silenced (all weights and shifts 0), a block is ReLU of its shortcut."""
    encoder = build("resnet20", shortcut="pad")
    with torch.no_grad():
        for name, parameter in encoder.module.named_parameters():
            if parameter.ndim == 4 and parameter.shape[1] != 3:
                parameter.zero_()
            assert parameter.ndim in (1, 2, 4), name
    outputs = list(layer_outputs(encoder, torch.randn(2, *CIFAR)).values())
    for before, after in ((4, 5), (7, 8)):
        source, result = outputs[before], outputs[after]
        assert result.shape[1] == 2 * source.shape[1]
        kept, expected = ([m for m in maps.unbind(1) if m.any()] for maps in (result, source[:, :, ::2, ::2]))
        assert len(kept) == 16
        torch.testing.assert_close(torch.stack(kept), torch.stack(expected))


def test_resnet18_keeps_the_resolution_in_its_stem() -> None:
    """3x3 stem without pooling: 64x32x32, 128x16x16, 256x8x8, 512x4x4, 512, 10 (ImageNet's stem starts at 8x8)."""
    features = n_features(build("resnet18"), CIFAR)
    assert features[0] == 3072
    assert features[1] == 64 * 32 * 32
    assert features[-2:] == [512, 10]
    expected = [65536] * 3 + [32768] * 2 + [16384] * 2 + [8192] * 2
    assert features[1:-2] == expected


def test_lenet5_by_hand() -> None:
    """C1 6@5x5 (156), C3 16@5x5 (2,416, or 1,516 by the 1998 table), C5 120 (48,120), F6 84 (10,164), 10 (850)."""
    encoder = build("lenet5", MNIST)
    dense = 156 + 2416 + 48120 + 10164 + 850
    sparse = dense - 2416 + 1516
    pooling = [0, 12 + 32]  # 1998: a coefficient and a bias for each of the 6 and 16 pooled maps
    assert n_parameters(encoder) in {base + extra for base in (dense, sparse) for extra in pooling}
    features = n_features(encoder, MNIST)
    assert features[0] == 784
    for size in (6 * 28 * 28, 6 * 14 * 14, 16 * 10 * 10, 16 * 5 * 5, 120, 84, 10):
        assert size in features
    assert features[-1] == 10


@pytest.mark.parametrize("embedding", [16, 128, 512])
def test_lenet_of_the_rmqm_paper_by_hand(embedding: int) -> None:
    """conv 1-6 k5, pool, conv 6-16 k5, pool, flatten 256, MLP 256-512-512-512-emb, and a classifier on top or not."""
    encoder = build("lenet_rmqm", MNIST, embedding=embedding)
    body = 156 + 2416 + (256 * 512 + 512) + 2 * (512 * 512 + 512) + (512 * embedding + embedding)
    head = embedding * 10 + 10
    assert n_parameters(encoder) in (body, body + head)
    features = n_features(encoder, MNIST)
    assert 256 in features
    assert embedding in features


def test_mlp_by_hand() -> None:
    encoder = build("mlp", MNIST, width=50, depth=2)
    assert n_parameters(encoder) == (784 * 50 + 50) + (50 * 50 + 50) + (50 * 10 + 10)


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "mlp"])
def test_same_seed_same_weights_and_another_seed_others(name: str) -> None:
    shape = MNIST if name == "lenet5" else CIFAR
    model = component("model", name)()
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(model.build(shape, 10).module.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


@pytest.mark.parametrize("name", sorted(components("model")))
def test_the_last_layer_is_what_the_module_returns_and_samples_do_not_mix(name: str) -> None:
    """Layer 0 is the input, the last layer the output; in eval mode a sample's layers do not depend on its batch."""
    cls = component("model", name)
    shape = next(
        (s for s in (MNIST, CIFAR, (1, 8, 8)) if _fits(cls, s)),
        None,
    )
    assert shape is not None
    torch.manual_seed(0)
    encoder = cls().build(shape, 10)
    encoder.module.double()
    x = torch.randn(4, *shape, dtype=torch.float64)
    together = layer_outputs(encoder, x)
    alone = layer_outputs(encoder, x[1:2])
    with torch.no_grad():
        torch.testing.assert_close(list(together.values())[-1], encoder.module(x))
    for layer, out in together.items():
        assert out.shape[0] == 4
        torch.testing.assert_close(out[1:2], alone[layer])
        assert torch.isfinite(out).all()


def _fits(cls: type, shape: tuple[int, int, int]) -> bool:
    from rra_cli.errors import UserError

    try:
        cls().build(shape, 10)
    except UserError:
        return False
    return True


@pytest.mark.parametrize("name", ["resnet20", "lenet5", "lenet_rmqm"])
def test_an_image_that_does_not_fit_is_the_users_fault(name: str) -> None:
    from rra_cli.errors import UserError

    with pytest.raises(UserError, match="1"):
        build(name, (3, 1, 1))


def test_activation_is_what_was_asked_for() -> None:
    """relu is never negative; tanh is odd and bounded; gelu and sigmoid are neither."""
    x = torch.randn(8, *CIFAR)
    first = {
        a: list(layer_outputs(build("resnet20", activation=a), x).values())[1]
        for a in ("relu", "gelu", "sigmoid", "tanh")
    }
    assert first["relu"].min() == 0
    assert -0.18 < first["gelu"].min() < 0
    assert 0 < first["sigmoid"].min() < first["sigmoid"].max() < 1
    assert -1 <= first["tanh"].min() < -0.5 < first["tanh"].max() <= 1
