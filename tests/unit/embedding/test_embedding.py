"""Pictures against scikit-learn and closed forms: PCA, ISOMAP, trustworthiness, Procrustes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import Isomap as OtherIsomap
from sklearn.manifold import trustworthiness

from rra_cli.embedding import plane as plane_module
from rra_cli.embedding.isomap import isomap
from rra_cli.embedding.plane import principal_plane
from rra_cli.embedding.procrustes import aligned, standardised
from rra_cli.embedding.quality import quality
from rra_cli.metrics.centred import Centred
from rra_cli.neighbors import exact_neighbors, neighbor_ranks

RNG = np.random.default_rng


def roll(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A sheet rolled up in three dimensions, and where its samples lie on the sheet."""
    rng = RNG(seed)
    t, height = 1.5 * np.pi * (1 + 2 * rng.random(n)), 8 * rng.random(n)
    length = 0.5 * (t * np.sqrt(1 + t**2) + np.arcsinh(t))
    return np.stack([t * np.cos(t), height, t * np.sin(t)], axis=1), np.stack([length, height], axis=1)


def up_to_signs(found: np.ndarray, expected: np.ndarray, atol: float) -> None:
    expected = expected - expected.mean(axis=0)
    np.testing.assert_allclose(found * np.sign((found * expected).sum(axis=0)), expected, atol=atol)


# PCA


@pytest.mark.parametrize("shape", [(60, 8), (40, 90)])
@pytest.mark.parametrize("iterated", [False, True])
def test_the_plane_is_that_of_scikit_learn(shape: tuple[int, int], iterated: bool, monkeypatch) -> None:
    x = RNG(0).normal(size=shape) * 0.7 ** np.arange(shape[1]) + 30.0
    if iterated:
        monkeypatch.setattr(plane_module, "LARGEST", 5)
        monkeypatch.setattr(plane_module, "BLOCK", 6)
        monkeypatch.setattr(plane_module, "SETTLED", 1e-9)
    found, other = principal_plane(Centred(x)), PCA(2, svd_solver="full").fit(x)
    up_to_signs(found.coordinates, other.transform(x), 1e-7)
    np.testing.assert_allclose(found.share, other.explained_variance_ratio_, rtol=1e-8)
    assert (found.angle > 0) == iterated
    assert found.angle < 1e-8


def test_a_layer_of_one_dimension_has_nothing_in_the_second() -> None:
    found = principal_plane(Centred(RNG(0).normal(size=(20, 1))))
    assert found.coordinates.shape == (20, 2)
    assert not found.coordinates[:, 1].any()
    assert found.share.tolist() == [pytest.approx(1.0), 0.0]


# ISOMAP


def test_isomap_of_all_samples_is_that_of_scikit_learn() -> None:
    x, _ = roll()
    graph = exact_neighbors(x, 8)
    found = isomap(graph)
    assert found.components == 1
    other = OtherIsomap(n_neighbors=8, n_components=2).fit(x)
    up_to_signs(found.coordinates, other.embedding_, 1e-6)
    squares = np.square(other.dist_matrix_)
    squares -= squares.mean(axis=0)
    values = np.linalg.eigvalsh(-0.5 * (squares - squares.mean(axis=1, keepdims=True)))
    assert values.min() < -1.0, "distances along a graph are not those of points in a flat space"
    np.testing.assert_allclose(found.share, values[:-3:-1] / values[values > 0].sum(), rtol=1e-6)


def test_isomap_unrolls_what_pca_cannot_also_from_few_landmarks() -> None:
    x, sheet = roll()
    graph = exact_neighbors(x, 6)
    sheet = standardised(sheet)

    def off(picture: np.ndarray) -> float:
        return float(np.sqrt(np.square(aligned(picture, sheet) - sheet).sum(axis=1).mean()))

    assert off(isomap(graph).coordinates) < 0.1
    assert off(isomap(graph, landmarks=40).coordinates) < 0.1
    assert off(principal_plane(Centred(x)).coordinates) > 0.8, "the control"
    one, again, other = (isomap(graph, landmarks=40, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.coordinates, again.coordinates)
    assert not np.array_equal(one.landmarks, other.landmarks)


def test_only_the_largest_component_is_placed_and_nothing_is_bridged() -> None:
    x, _ = roll(120)
    apart = np.concatenate([x, x[:30] + 1000.0, x[:20] - 1000.0])
    found = isomap(exact_neighbors(apart, 8))
    assert found.components == 3
    assert np.isnan(found.coordinates[120:]).all()
    np.testing.assert_allclose(found.coordinates[:120], isomap(exact_neighbors(x, 8)).coordinates, atol=1e-8)


def test_copies_of_a_sample_are_connected_by_a_distance_of_zero() -> None:
    x = np.repeat(RNG(0).normal(size=(40, 2)), 3, axis=0)
    found = isomap(exact_neighbors(x, 14))
    assert found.components == 1
    np.testing.assert_allclose(found.coordinates[::3], found.coordinates[1::3], atol=1e-9)


# Quality


def test_trustworthiness_is_that_of_scikit_learn_and_preservation_that_of_sets() -> None:
    x, _ = roll()
    x = np.concatenate([x, 3 * RNG(1).normal(size=(400, 5))], axis=1) + 100.0
    graph, layer = exact_neighbors(x, 7), Centred(x.astype(np.float32))
    for picture in (principal_plane(layer).coordinates, RNG(0).normal(size=(400, 2))):
        found = quality(graph, layer, picture)
        assert found.trustworthiness == pytest.approx(trustworthiness(x, picture, n_neighbors=7), abs=1e-9)
        shown = exact_neighbors(picture, 7).indices
        kept = [len(set(a) & set(b)) / 7 for a, b in zip(graph.indices.tolist(), shown.tolist(), strict=True)]
        assert found.preservation == pytest.approx(np.mean(kept))
        some = quality(graph, layer, picture, queries=100)
        assert abs(some.trustworthiness - found.trustworthiness) < 4 * some.trustworthiness_error
    assert found.trustworthiness == pytest.approx(0.5, abs=0.03), "a picture drawn at random"
    assert found.preservation == pytest.approx(found.chance, abs=0.02)


def test_of_few_samples_no_more_neighbours_are_looked_at_than_trustworthiness_allows() -> None:
    x = RNG(0).normal(size=(7, 3))
    picture = x[:, :2]
    found = quality(exact_neighbors(x, 5), Centred(x), picture)
    assert found.k == 3
    assert found.trustworthiness == pytest.approx(trustworthiness(x, picture, n_neighbors=3), abs=1e-12)
    assert found.chance == pytest.approx(3 / 6)
    assert quality(exact_neighbors(x[:2], 1), Centred(x[:2]), picture[:2]).k == 0


def test_ranks_are_those_of_the_exact_pass() -> None:
    x = RNG(0).normal(size=(80, 6))
    picture = RNG(1).normal(size=(80, 2))
    ranks = neighbor_ranks(exact_neighbors(picture, 5), x, 5)
    expected = 1 - 2 / (80 * 5 * (160 - 15 - 1)) * np.maximum(0, ranks - 5).sum()
    found = quality(exact_neighbors(x, 5), Centred(x), picture)
    assert found.trustworthiness == pytest.approx(expected, abs=1e-12)


def test_samples_that_were_not_placed_do_not_count() -> None:
    x, _ = roll(150)
    apart = np.concatenate([x, x[:30] + 1000.0])
    graph = exact_neighbors(apart, 6)
    found = quality(graph, Centred(apart), isomap(graph).coordinates)
    alone = quality(exact_neighbors(x, 6), Centred(x), isomap(exact_neighbors(x, 6)).coordinates)
    assert found == alone
    assert np.isnan(quality(graph, Centred(apart), np.full((180, 2), np.nan)).trustworthiness)


# Procrustes


def test_a_turned_mirrored_moved_and_stretched_picture_is_turned_back() -> None:
    picture = RNG(0).normal(size=(50, 2)) * np.array([3.0, 1.0])
    turn = np.array([[0.6, -0.8], [0.8, 0.6]]) @ np.diag([1.0, -1.0])
    reference = standardised(picture)
    moved = 7.0 * picture @ turn + 5.0
    moved[3] = np.nan
    found = aligned(moved, reference)
    kept = np.arange(50) != 3
    # Three samples less in its mean: nearly, not exactly.
    np.testing.assert_allclose(found[kept], reference[kept], atol=0.1)
    assert np.isnan(found[3]).all()
    exact = aligned(7.0 * picture @ turn + 5.0, reference)
    np.testing.assert_allclose(exact, reference, atol=1e-12)
    other = RNG(1).normal(size=(50, 2))
    np.testing.assert_allclose(
        np.linalg.norm(aligned(other, reference)[:, None] - aligned(other, reference), axis=2),
        np.linalg.norm(standardised(other)[:, None] - standardised(other), axis=2),
        atol=1e-12,
        err_msg="distances within the picture stay",
    )
    assert not standardised(np.ones((4, 2))).any()
