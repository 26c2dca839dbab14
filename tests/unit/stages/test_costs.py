"""The rates behind a plan's times can be measured by the script that they name, in the units in which they are used."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from rra_cli.methods.simclr import SimCLR
from rra_cli.methods.supervised import Supervised
from rra_cli.models.mlp import MLP
from rra_cli.stages import costs

REPOSITORY = Path(__file__).parents[3]
RATES = ("TRAINING_FLOPS", "FORWARD_FLOPS", "PIXEL_SECONDS", "STEP_SECONDS", "DISK_BYTES")


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stage_rates", REPOSITORY / "benchmarks" / "stage_rates.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_operations_are_two_per_multiply_add() -> None:
    network = MLP(width=50, depth=2).build((1, 8, 8), 10).module
    assert costs.forward_flops(network, (1, 8, 8)) == 2 * (64 * 50 + 50 * 50 + 50 * 10)


def test_a_step_is_counted_with_all_its_views_and_heads() -> None:
    """A linear layer runs forward, backward for its weight and, but for the first one, backward for its input."""
    shape, first, last = (1, 8, 8), 2 * 64 * 50, 2 * 50 * 10
    encoder = MLP(width=50, depth=1).build(shape, 10)
    supervised = costs.step_flops(encoder, Supervised().objective(encoder, 10), shape, 1)
    assert supervised == 2 * first + 3 * last
    encoder = MLP(width=50, depth=1).build(shape, 0)
    simclr = SimCLR(projector=(10,)).objective(encoder, 0)
    own = costs.step_flops(encoder, simclr, shape, 2)
    assert 2 * supervised < own < 2.1 * supervised, "two views, and the similarities of eight projections"


def test_every_rate_has_its_measurement(benchmark: ModuleType) -> None:
    text = (REPOSITORY / "benchmarks" / "stage_rates.py").read_text()
    assert all(f'"{name}"' in text and getattr(costs, name) > 0 for name in RATES)
    assert {name for name in vars(costs) if name.isupper() and name != "TYPE_CHECKING"} == set(RATES)


@pytest.mark.long
def test_rates_are_measured(benchmark: ModuleType, tmp_path: Path) -> None:
    """On sizes that take no time. How fast this machine is is nobody's theorem; that it is within reason, is."""
    rates = [
        benchmark.training_rate(batch_size=4, seconds=0.0),
        benchmark.forward_rate(batch_size=4, seconds=0.0),
    ]
    assert all(1e5 < rate < 1e15 for rate in rates)
    assert 1e-6 < benchmark.step_seconds(seconds=0.0) < 10
    assert 0 <= benchmark.pixel_seconds(batch_size=4, seconds=0.0) < 1e-2
    assert 1e4 < benchmark.disk_rate(tmp_path, n_bytes=10**6, seconds=0.0) < 1e12


def test_the_median_leaves_the_first_call_out(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    now, waits = [0.0], iter([100.0, 1.0, 2.0, 9.0])

    def work() -> None:
        now[0] += next(waits)

    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: now[0])
    assert benchmark.median_seconds(work, 10.0) == 2.0
