"""The script that times volume elements: its sides compute the same number."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from rra_cli.models.resnet import ResNet34
from rra_cli.pullback.layer_map import LayerMaps
from rra_cli.pullback.volume import volume_elements

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import pullback

    return pullback


def test_the_sides_agree(benchmark: ModuleType) -> None:
    narrow = ResNet34(activation="gelu", width_multiplier=1 / 32, depth_multiplier=0.34)
    network = benchmark.trained_like(narrow.build(benchmark.SHAPE, 0).module)
    trunk = nn.Sequential(*(part for name, part in network.named_children() if name != "gap"))
    point = torch.randn(1, *benchmark.SHAPE)
    found = volume_elements(LayerMaps(network, ["stage4"], benchmark.SHAPE, limit=16), point)[0]
    value, rank = benchmark.plain_way(trunk, point)
    assert found.n_outputs == found.rank[0] == rank == 16
    assert found.log_volume[0] == pytest.approx(value, rel=benchmark.SAME)
    assert benchmark.by_vmap(trunk, point, rows=5) == pytest.approx(value, rel=benchmark.SAME)
    other = benchmark.plain_way(trunk, torch.randn(1, *benchmark.SHAPE))[0]
    assert other != pytest.approx(value, rel=1e-3), "the control: another point"
