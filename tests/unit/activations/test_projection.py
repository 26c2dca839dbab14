"""The random projection: its matrix is what was published and the same everywhere, and distances keep their bound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import pdist
from torch import nn

from rra_cli.activations import projection as module
from rra_cli.activations.capture import capture
from rra_cli.activations.projection import COLUMNS, ROWS, Projection, Projector, matrix_rows
from rra_cli.activations.stream import Request, stream
from rra_cli.errors import UserError

MASK = (1 << 64) - 1


def philox(key: int, counter: tuple[int, int, int, int]) -> list[int]:
    """Four words of Philox 4x64-10 by its definition (Salmon et al. 2011, sec. 3.3), independent of numpy's."""
    c, k = list(counter), [key, 0]
    for _ in range(10):
        low, high = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(high >> 64) ^ c[1] ^ k[0], high & MASK, (low >> 64) ^ c[3] ^ k[1], low & MASK]
        k = [(k[0] + 0x9E3779B97F4A7C15) & MASK, (k[1] + 0xBB67AE8584CAA73B) & MASK]
    return c


def project(x: np.ndarray, dimensions: int, seed: int = 0, **options: int) -> np.ndarray:
    return Projector(Projection(dimensions, seed), **options).project(torch.from_numpy(x)).numpy()


# The matrix


def test_philox_here_gives_the_published_words() -> None:
    """Known-answer test of the Random123 library for key and counter 0; below it is the oracle."""
    assert [f"{word:016x}" for word in philox(0, (0, 0, 0, 0))] == [
        "16554d9eca36314c",
        "db20fe9d672d0fdc",
        "d7e772cee186176b",
        "7e68b68aec7ba23b",
    ]


@pytest.mark.parametrize(("seed", "block", "column"), [(0, 0, 0), (1, 0, 128), (7, 3, 256)])
def test_entries_are_box_muller_of_philox(seed: int, block: int, column: int) -> None:
    """The first words of a block: numpy raises the counter before its first words."""
    words = philox(seed, (1, block, column // COLUMNS, 0)) + philox(seed, (2, block, column // COLUMNS, 0))
    uniform = [((word >> 32) + 1) * 2.0**-32 for word in words], [(word & 0xFFFFFFFF) * 2.0**-32 for word in words]
    radius, angle = np.sqrt(-2 * np.log(uniform[0])), 2 * np.pi * np.array(uniform[1])
    expected = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()
    found = matrix_rows(seed, block, 300)[0, column : column + 16]
    np.testing.assert_allclose(found * np.sqrt(300), expected, rtol=1e-6)


def test_entries_are_independent_normal_numbers() -> None:
    """Kolmogorov-Smirnov test of the distribution, and correlations within four standard errors."""
    entries = np.concatenate([matrix_rows(0, block, 256) for block in range(4)]).astype(float) * 16
    assert stats.kstest(entries.ravel(), "norm").pvalue > 0.01
    for other in (entries[1:, :-1], entries[:-1, 1:], entries[1:, 1:]):
        mine = entries[: len(other), : other.shape[1]]
        assert abs(np.mean(mine * other)) < 4 / np.sqrt(other.size)


def test_seeds_and_blocks_are_different_and_dimensions_nest() -> None:
    first = matrix_rows(0, 0, 200)
    for other in (matrix_rows(1, 0, 200), matrix_rows(0, 1, 200)):
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(first.size)
    np.testing.assert_allclose(matrix_rows(0, 0, 70) * np.sqrt(70), first[:, :70] * np.sqrt(200), rtol=1e-6)


def test_a_smaller_layer_has_the_first_rows() -> None:
    """So that two layers that hold the same values still hold the same ones, and checkpoints can be compared."""
    x = np.random.default_rng(0).normal(size=(5, 700)).astype(np.float32)
    padded = np.hstack([x, np.zeros((5, 900), np.float32)])
    np.testing.assert_allclose(project(x, 64), project(padded, 64), rtol=1e-5, atol=1e-6)
    assert not np.allclose(project(x, 64), project(padded[:, ::-1].copy(), 64), atol=1)


# What it does to samples


def test_it_is_the_product_with_the_matrix() -> None:
    x = np.random.default_rng(0).normal(size=(30, 3 * ROWS + 17))
    matrix = np.concatenate([matrix_rows(5, block, 90) for block in range(4)])[: x.shape[1]].astype(float)
    np.testing.assert_allclose(project(x, 90, seed=5), x @ matrix, rtol=1e-10, atol=1e-12)
    assert project(x.astype(np.float32), 90).dtype == np.float32


@pytest.mark.parametrize("memory", [0, 300_000, 1 << 30])
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_batches_and_memory_change_nothing(memory: int, batch: int) -> None:
    x = np.random.default_rng(0).normal(size=(64, 2000)).astype(np.float32)
    projector = Projector(Projection(100), memory=memory)
    parts = [projector.project(torch.from_numpy(x[at : at + batch])).numpy() for at in range(0, 64, batch)]
    np.testing.assert_array_equal(np.concatenate(parts), project(x, 100))


def test_no_more_of_the_matrix_is_held_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 blocks of 200 kB, room for three: those are made once, the others for every batch."""
    made: list[int] = []
    honest = module.matrix_rows
    monkeypatch.setattr(module, "matrix_rows", lambda *at: (made.append(at[1]), honest(*at))[1])
    projector = Projector(Projection(100), memory=3 * ROWS * 100 * 4)
    for _ in range(3):
        projector.project(torch.ones(2, 8 * ROWS))
    assert [made.count(block) for block in range(8)] == [1, 1, 1, 3, 3, 3, 3, 3]
    assert sum(kept.nbytes for kept in projector._kept.values()) == 3 * ROWS * 100 * 4


@pytest.mark.long
def test_distances_are_unbiased_with_the_spread_of_chi_squared() -> None:
    """The squared ratio is chi-squared of k degrees over k: its mean and variance over 1,000 seeds of one pair."""
    x = np.random.default_rng(0).lognormal(size=(2, 60))
    k = 10
    ratios = [pdist(project(x, k, seed))[0] ** 2 / pdist(x)[0] ** 2 for seed in range(1000)]
    assert stats.kstest(np.array(ratios) * k, stats.chi2(k).cdf).pvalue > 0.01
    assert np.mean(ratios) == pytest.approx(1, abs=4 * np.sqrt(2 / k / 1000))


@pytest.mark.parametrize("dimensions", [256, 1024])
def test_the_bound_of_johnson_and_lindenstrauss_holds(dimensions: int) -> None:
    """All 1,225 pairs of 50 very uneven samples, with probability 0.99 by the union of all bounds."""
    rng = np.random.default_rng(0)
    x = rng.lognormal(0, 2, size=(50, 5000)) * (rng.random((50, 5000)) < 0.1)
    pairs = 50 * 49 / 2
    errors = np.arange(0.01, 1, 0.01)
    failure = 2 * pairs * np.exp(-dimensions * (errors**2 / 2 - errors**3 / 3) / 2)
    error = errors[failure <= 0.01][0]
    ratios = (pdist(project(x, dimensions)) / pdist(x)) ** 2
    assert np.abs(ratios - 1).max() < error
    # Negative control: as many of the features themselves, scaled likewise, are far outside of it.
    chosen = x[:, rng.choice(5000, dimensions, replace=False)] * np.sqrt(5000 / dimensions)
    assert np.abs((pdist(chosen) / pdist(x)) ** 2 - 1).max() > 2 * error


def test_rows_that_are_not_finite_stay_so_and_harm_no_other() -> None:
    x = np.ones((5, 100), np.float32)
    x[1, 3], x[2, 99] = np.nan, np.inf
    found = project(x, 20)
    np.testing.assert_array_equal(np.isfinite(found).all(axis=1), [True, False, False, True, True])


def test_layers_that_are_small_enough_stay_as_they_are() -> None:
    x = torch.randn(3, 20)
    assert Projector(Projection(20)).project(x) is x
    assert [Projection(20).width(features) for features in (5, 20, 21)] == [5, 20, 20]
    assert [Projection(20).applies_to(features) for features in (5, 20, 21)] == [False, False, True]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_device_has_the_same_matrix() -> None:
    x = np.random.default_rng(0).normal(size=(64, 2000)).astype(np.float32)
    found = Projector(Projection(100)).project(torch.from_numpy(x).cuda()).cpu().numpy()
    np.testing.assert_allclose(found, project(x, 100), rtol=1e-6, atol=1e-6)


# In a capture


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(1, 6, 3, padding=1)
        self.head = nn.Linear(6 * 64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.wide(x).flatten(1))


REQUESTS = [Request("input", ""), Request("wide", "wide"), Request("head", "head")]


def captured(work: Path, projection: Projection | None, batch: int = 8) -> dict[str, np.ndarray]:
    torch.manual_seed(0)
    x = torch.randn(20, 1, 8, 8)
    found = stream(
        Net(), lambda a, b: x[a:b], 20, REQUESTS, work, batch_size=batch, device="cpu", projection=projection
    )
    return {request.layer: np.load(result.path) for request, result in found.items()}


def test_a_pass_writes_projected_layers(tmp_path: Path) -> None:
    """Only those that are larger; what was written with another projection is not gone on with."""
    whole = captured(tmp_path, None)
    found = captured(tmp_path, Projection(50))
    assert {layer: array.shape for layer, array in found.items()} == {
        "input": (20, 50),
        "wide": (20, 50),
        "head": (20, 10),
    }
    np.testing.assert_array_equal(found["head"], whole["head"])
    for layer in ("input", "wide"):
        np.testing.assert_allclose(found[layer], project(whole[layer], 50), rtol=1e-5, atol=1e-6)
    other = captured(tmp_path, Projection(50, seed=1))
    assert not np.allclose(other["wide"], found["wide"], atol=0.1)


def test_capture_of_a_users_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, x = Net(), torch.randn(20, 1, 8, 8)
    whole = capture(net, [x[:8], x[8:]], tmp_path / "whole")
    found = capture(net, [x[:8], x[8:]], tmp_path / "reduced", reduce=50)
    assert np.load(whole / "001_wide.npy").shape == (20, 6, 8, 8)
    assert np.load(found / "001_wide.npy").shape == (20, 50)
    expected = project(np.load(whole / "001_wide.npy").reshape(20, -1), 50)
    np.testing.assert_allclose(np.load(found / "001_wide.npy"), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.load(found / "002_head.npy"), np.load(whole / "002_head.npy"))
    seeded = capture(net, [x], tmp_path / "seeded", reduce=Projection(50, seed=3))
    assert not np.allclose(np.load(seeded / "001_wide.npy"), expected, atol=0.1)


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="reduce is 0; at least 1 dimension"):
        capture(Net(), [torch.zeros(1, 1, 8, 8)], tmp_path / "x", reduce=0)
    with pytest.raises(ValueError, match="reduce_seed is -1; it must lie in"):
        Projection(10, seed=-1)
