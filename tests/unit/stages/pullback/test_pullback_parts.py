"""Parts of the pullback stage on made networks: directions in common, probes in pixels, costs, layers, what is said."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rra_cli.data.dataset import Samples
from rra_cli.data.digits import Digits
from rra_cli.metrics.pullback import Pullback
from rra_cli.models.mlp import MLP
from rra_cli.pullback.layer_map import LayerMaps
from rra_cli.pullback.place import FromPixels, Place
from rra_cli.pullback.predictions import ProbeData, probabilities
from rra_cli.stages.pullback import costs as pullback_costs
from rra_cli.stages.pullback.blocks import by_blocks
from rra_cli.stages.pullback.costs import pullback_cost, smallest_memory
from rra_cli.stages.pullback.notes import tell
from rra_cli.stages.pullback.predictions import predictions
from rra_cli.stages.pullback.stage import PullbackStage
from rra_cli.stages.pullback.study import chosen_layers
from rra_cli.stages.results import Measured

LINE = Pullback(at="line", n=9, n_units=4, unit_points=6, dtype="float64", top=None)


class Points:
    """Forty points of three numbers: four have a negative third one, and one of these a negative second one."""

    def __init__(self) -> None:
        self.values = np.random.default_rng(0).uniform(1.0, 2.0, (40, 3))
        self.values[[3, 8, 21, 30], 2] = -1.0
        self.values[21, 1] = -1.0

    def __len__(self) -> int:
        return len(self.values)

    def points(self, start: int, stop: int) -> np.ndarray:
        return self.values[start:stop]


class Rectified(nn.Module):
    """relu(diag(e^3, e^2, e) x), which loses the negative numbers, and beside it 2 x, which loses none."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64).exp())
        self.bent, self.straight = nn.ReLU(), nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bent(x * self.scale) + self.straight(2 * x)


def test_volumes_are_over_the_directions_that_nearly_all_points_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one layer points have three, two or one: all volumes are over two, 3 + 2, and one point has none."""
    place = Points()
    stage: Any = PullbackStage.__new__(PullbackStage)
    stage.metric, stage.layers, stage.__dict__["place"] = LINE, {"bent": "bent", "straight": "straight"}, place

    def maps(self: Any, encoder: Any, device: str = "cpu", layers: Any = None) -> LayerMaps:
        chosen = {name: ref for name, ref in self.layers.items() if layers is None or name in layers}
        return LayerMaps(Rectified().eval(), chosen, (3,))

    monkeypatch.setattr(PullbackStage, "maps", maps)
    context = SimpleNamespace(device="cpu", memory=None)
    bent, straight = stage._levelled(None, context, tmp_path, lambda *_: None)
    expected = np.full(40, 5.0)
    expected[21] = np.nan
    np.testing.assert_allclose(bent[0], expected, rtol=1e-12)
    assert bent[1].tolist() == (1 + (place.values[:, 1:] > 0).sum(axis=1)).tolist()
    np.testing.assert_allclose(straight[0], 3 * np.log(2), rtol=1e-12)
    assert (bent[2], straight[2]) == (2, 3)


def test_progress_counts_the_points_of_all_blocks(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def block(start: int, stop: int, progress: Any) -> np.ndarray:
        progress(stop - start - 1, stop - start, "")
        return np.zeros((1, stop - start))

    by_blocks(tmp_path, "x", 20, block, lambda done, total, note: seen.append((done, total)))
    assert seen == [(7, 20), (8, 20), (15, 20), (16, 20), (19, 20), (20, 20)]


# Predictions


def test_a_probe_sees_what_the_network_sees_whatever_the_space() -> None:
    """The points are the same images in both spaces, and so are the predictions."""
    images = np.random.default_rng(0).integers(0, 17, (60, 1, 8, 8), dtype=np.uint8)
    dataset, samples = Digits(), Samples(images, np.arange(60) % 10, np.arange(60))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).double().eval().requires_grad_(False)
    found = []
    for space in ("normalised", "pixels"):
        place = Place(replace(LINE, space=space), dataset, samples)
        module = network if space == "normalised" else FromPixels(network, dataset)
        found.append(predictions(place, module, "cpu", samples, 40))
    np.testing.assert_allclose(found[1], found[0], atol=1e-4)
    assert found[0].std(axis=0).max() > 0.05, "they say something"


def test_a_class_that_the_probe_has_never_seen_is_not_predicted_and_moves_no_other() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = np.tile([2, 5], 30)
    train = torch.randn(60, 2, generator=generator) + 6.0 * torch.from_numpy(labels == 5)[:, None]
    asked = torch.tensor([[0.0, 0.0], [6.0, 6.0]])
    probe = ProbeData(lambda start, stop: train[start:stop], labels)
    found = probabilities(nn.Identity(), lambda start, stop: asked[start:stop], 2, 7, probe)
    assert found.argmax(axis=1).tolist() == [2, 5]
    np.testing.assert_allclose(found[:, [2, 5]].sum(axis=1), 1.0)
    assert not found[:, [0, 1, 3, 4, 6]].any()


# Costs


def cost(metric: Pullback) -> Any:
    network = MLP(width=40, depth=2).build((1, 8, 8), 10)
    stage: Any = SimpleNamespace(
        metric=metric,
        images=SimpleNamespace(dataset=Digits()),
        training=SimpleNamespace(fresh=SimpleNamespace(encoder=lambda: network), n_outputs=10),
        maps=lambda encoder, layers=("hidden1", "hidden2"): LayerMaps(encoder.module.eval(), list(layers), (1, 8, 8)),
    )
    return pullback_cost(stage)


def test_points_cost_the_same_in_whichever_line_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pullback_costs, "forward_flops", lambda maps, shape: 1e7)  # to count them takes seconds
    one, several = cost(replace(LINE, n=600, n_units=1)), cost(replace(LINE, n=100, n_units=6, unit_points=100))
    assert several == one
    assert cost(replace(LINE, n=600, n_units=2)).seconds > one.seconds, "the control"
    # Of each point at least the predictions, and the volume and rank of both layers.
    assert one.disk_bytes >= 600 * 8 * (10 + 2 * 2)


def test_a_point_needs_its_jacobian_and_its_gram_at_least() -> None:
    (layer,) = LayerMaps(nn.Sequential(nn.Linear(30, 20)).eval(), ["0"], (30,)).maps
    assert smallest_memory(layer, 30) >= 8 * (20 * 30 + 20 * 20)


# Layers, and what is said


def test_layers_are_in_the_networks_order_whatever_the_order_of_their_names() -> None:
    encoder = MLP(width=8, depth=3).build((1, 8, 8), 10)

    def names(*layers: str) -> list[str]:
        return list(chosen_layers("m", Pullback(layers=layers), encoder, (1, 8, 8)))

    assert names("hidden3", "hidden1") == names("hidden[13]") == ["hidden1", "hidden3"]
    assert names("logits", "input") == ["input", "logits"]
    assert names() == ["hidden3"], "the last of its stage, and neither input nor head"


def test_points_without_a_volume_are_told_by_their_kind() -> None:
    class Told:
        def __init__(self) -> None:
            self.warnings: list[str] = []

        def task(self, title: str) -> Any:
            return nullcontext()

        def note(self, message: str) -> None:
            raise AssertionError(message)

        def warn(self, message: str) -> None:
            self.warnings.append(message)

    figures = {"layer": "a", "n_inputs": 64, "n_features": 16, "directions": 16}
    layers = [Measured(figures, {"rank": np.array(rank)}) for rank in ([16, -1, 0, -1], [16, 16])]
    told: Any = Told()
    tell(told, "way", layers, LINE)
    assert told.warnings == [
        "way: a has no volume at 1 points: the layer is constant there (rank 0)",
        "way: a has no volume at 2 points: J is not finite",
    ]
