"""Figures of a network after an epoch, against closed forms and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from training_jobs import samples

from rra_cli.training import figures
from rra_cli.training.batches import Resident
from rra_cli.training.figures import effective_rank, embedding_std, knn_accuracy, neighbours_asked, see


def normal(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


# embedding_std


def test_the_spread_is_1_on_the_whole_sphere_and_0_in_one_point() -> None:
    """Uniform directions: each feature has mean 0 and variance 1 / d."""
    assert embedding_std(normal(20_000, 64)) == pytest.approx(1.0, abs=0.005)
    assert embedding_std(torch.ones(50, 8) * torch.arange(1.0, 51.0)[:, None]) == pytest.approx(0.0, abs=1e-7)


def test_the_spread_is_the_root_of_1_minus_the_mean_cosine_where_features_spread_alike() -> None:
    """A common direction c on every feature and opposite unit vectors around it: closed form."""
    d, shift = 16, 3.0
    rows = torch.cat([torch.eye(d), -torch.eye(d)]) * math.sqrt(d) + shift
    # Each pair is c 1 ± sqrt(d) e_i; its norm depends on the sign, so the mean cosine is taken from the rows.
    unit = nn.functional.normalize(rows.double(), dim=1)
    mean_cosine = float((unit @ unit.T).mean())
    assert embedding_std(rows) == pytest.approx(math.sqrt(1 - mean_cosine), rel=1e-6)


def test_the_spread_ignores_the_length_of_embeddings() -> None:
    rows = normal(100, 8) + 1
    assert embedding_std(rows * torch.linspace(0.1, 50, 100)[:, None]) == pytest.approx(embedding_std(rows), rel=1e-5)


# effective_rank


@pytest.mark.parametrize("r", [1, 3, 8])
@pytest.mark.parametrize("n", [40, 10])
def test_equal_variances_in_r_dimensions_have_rank_r(n: int, r: int) -> None:
    """Also with fewer samples than features, where the smaller product is taken."""
    directions = torch.linalg.qr(normal(16, 16, 1).double()).Q[:r]
    signs = torch.cat([torch.eye(r), -torch.eye(r)]).double()  # 2 r samples, variance 1 / r along each direction
    rows = (signs @ directions).repeat(n, 1)[: max(1, n // (2 * r)) * 2 * r] + 5
    assert effective_rank(rows) == pytest.approx(r, rel=1e-9)


def test_two_variances_have_the_exponential_of_their_entropy() -> None:
    """Shares p and 1 - p: exp(-p ln p - (1 - p) ln(1 - p)), e.g. 0.9 and 0.1 give 1.384."""
    rows = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert effective_rank(rows) == pytest.approx(math.exp(-0.9 * math.log(0.9) - 0.1 * math.log(0.1)))


def test_rank_of_no_variance_and_of_numbers_that_are_not_finite() -> None:
    assert effective_rank(torch.full((10, 4), 0.3)) == 0.0
    assert effective_rank(torch.zeros(10, 4)) == 0.0
    assert math.isnan(effective_rank(torch.full((10, 4), math.inf)))


def test_rank_survives_rotation_and_scale_but_not_stretching_one_direction() -> None:
    rows = normal(300, 12).double()
    rotation = torch.linalg.qr(normal(12, 12, 2).double()).Q
    assert effective_rank(7 * rows @ rotation + 1) == pytest.approx(effective_rank(rows), rel=1e-9)
    stretched = rows.clone()
    stretched[:, 0] *= 10
    assert effective_rank(stretched) < 0.6 * effective_rank(rows)


# knn_accuracy


def clusters(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(n) % 5
    return normal(n, 12, seed) + 1.2 * normal(5, 12, 99)[labels], labels


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (7, 0.1), (40, 0.1), (40, 1.0)])
def test_knn_accuracy_is_scikit_learns(k: int, temperature: float) -> None:
    bank, labels = clusters(300, 1)
    queries, truth = clusters(201, 2)
    unit = [nn.functional.normalize(part.double(), dim=1).numpy() for part in (bank, queries)]
    model = KNeighborsClassifier(k, weights=lambda d: np.exp((1 - d) / temperature), metric="cosine", algorithm="brute")
    expected = model.fit(unit[0], labels.numpy()).score(unit[1], truth.numpy())
    assert 0.4 < expected < 0.99
    assert knn_accuracy(bank, labels, queries, truth, k=k, temperature=temperature) == pytest.approx(expected)


def test_weights_matter_and_lengths_do_not() -> None:
    """Two far neighbours of class 1 and one near of class 0: plain voting would say 1."""
    bank, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 5.0]]), torch.tensor([0, 1, 1])
    query, truth = torch.tensor([[2.0, 0.5]]), torch.tensor([0])
    assert knn_accuracy(bank, labels, query, truth, k=3) == 1.0
    assert knn_accuracy(bank, labels, query, truth, k=3, temperature=100.0) == 0.0


def test_the_block_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    (bank, labels), (queries, truth) = clusters(300, 1), clusters(201, 2)
    whole = knn_accuracy(bank, labels, queries, truth, k=20)
    monkeypatch.setattr(figures, "SIMILARITIES", 7 * 300 + 299)  # of a large bank
    assert knn_accuracy(bank, labels, queries, truth, k=20) == whole
    monkeypatch.setattr(figures, "BLOCK", 3)
    assert knn_accuracy(bank, labels, queries, truth, k=20) == whole


def test_no_more_neighbours_than_a_class_has() -> None:
    assert neighbours_asked(10_000, 10) == 200
    assert neighbours_asked(10_000, 100) == 100
    assert neighbours_asked(50, 100) == 1


# see


def test_one_pass_sees_outputs_and_representation() -> None:
    data = Resident.of(samples(57, 0), (0.4,), (0.25,), "cpu")
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).train()
    seen = see(network, data, "2")
    pixels = data.standardised(data.pixels(slice(None)))
    with torch.no_grad():
        assert torch.allclose(seen.outputs, network.eval()(pixels))
        assert torch.allclose(seen.representation, network[:3](pixels))
    assert not network[2]._forward_hooks
    whole = see(network, data)
    assert torch.equal(whole.outputs, whole.representation), "without a name it is the output"


def test_the_hook_is_taken_away_when_the_pass_is_interrupted() -> None:
    data = Resident.of(samples(20, 0), (0.4,), (0.25,), "cpu")
    network = nn.Sequential(nn.Flatten())

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        see(network, data, "0", interrupt)
    assert not network[0]._forward_hooks
