"""Distances to altered copies: closed forms, invariances, and unrelated copies at chance level."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rra_cli.metrics import copies
from rra_cli.metrics.copies import compare_copies, measure_pairs, partners


def cloud(n: int = 800, d: int = 10, seed: int = 0) -> NDArray[np.float64]:
    return np.random.RandomState(seed).normal(size=(n, d))


def test_equal_copies_do_not_move() -> None:
    x = cloud()
    found = compare_copies(x, x)
    assert {name: found[name].value for name in ("copy_distance", "copy_distance_median")} == {
        "copy_distance": 0.0,
        "copy_distance_median": 0.0,
    }
    assert found["copy_cosine"].value == pytest.approx(1.0)
    assert found["copy_distance"].chance == pytest.approx(1.0)


def test_a_shift_moves_all_copies_by_its_length() -> None:
    """|x - (x + c)| = |c| for every sample; the mean distance of two of them is computed here by brute force."""
    x, shift = cloud(), np.array([3.0, 4.0] + [0.0] * 8)
    found = compare_copies(x, x + shift)
    pairs = np.linalg.norm(x - x[partners(len(x))], axis=1).mean()
    assert found["copy_distance"].value == pytest.approx(5.0 / pairs)
    assert found["copy_distance_median"].value == pytest.approx(5.0 / pairs)


def test_the_scale_is_the_mean_distance_of_two_samples() -> None:
    """Of a Gaussian cloud in d dimensions sqrt(2) times the mean of chi: 2 Γ((d + 1) / 2) / Γ(d / 2)."""
    from scipy.special import gamma

    x = cloud(20_000)
    expected = 2 * gamma(5.5) / gamma(5.0)
    assert measure_pairs(x, x).apart.mean() == pytest.approx(expected, rel=0.01)


def test_unrelated_copies_are_at_chance() -> None:
    """And related ones are not."""
    x = cloud()
    found = compare_copies(x, cloud(seed=1))
    for name, estimate in found.items():
        assert estimate.value == pytest.approx(estimate.chance, abs=0.03), name
    near = compare_copies(x, x + 0.1 * cloud(seed=1))
    assert near["copy_distance"].value < 0.15 < near["copy_distance"].chance
    assert near["copy_cosine"].value > 0.98 > near["copy_cosine"].chance


def test_chance_is_the_same_of_the_copy_of_the_sample_that_was_drawn() -> None:
    """By the definition, pair by pair; lengths of copies are skewed, so that their mean is not their median."""
    x, y = cloud(), cloud(seed=1) ** 3
    other, found = partners(len(x)), compare_copies(x, y)
    apart, lengths = np.linalg.norm(x - x[other], axis=1).mean(), np.linalg.norm(x - y[other], axis=1)
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(x, y[other], strict=True)]
    assert found["copy_distance"].chance == pytest.approx(lengths.mean() / apart)
    assert found["copy_distance_median"].chance == pytest.approx(np.median(lengths) / apart)
    assert found["copy_cosine"].chance == pytest.approx(np.mean(cosines))


def test_rotation_and_scale_of_the_layer_change_nothing_and_other_maps_do() -> None:
    x, y = cloud(), cloud() + 0.3 * cloud(seed=1)
    turn = np.linalg.qr(np.random.RandomState(2).normal(size=(10, 10)))[0]
    before, after = compare_copies(x, y), compare_copies(7.0 * x @ turn, 7.0 * y @ turn)
    for name in before:
        assert after[name].value == pytest.approx(before[name].value), name
    stretched = compare_copies(x * np.arange(1, 11), y * np.arange(1, 11))
    assert stretched["copy_cosine"].value != pytest.approx(before["copy_cosine"].value, abs=1e-4)


def test_the_median_does_not_see_a_few_that_move_far() -> None:
    x = cloud()
    y = x + 0.01
    y[:40] += 1000.0
    found = compare_copies(x, y)
    assert found["copy_distance_median"].value == pytest.approx(
        compare_copies(x, x + 0.01)["copy_distance_median"].value
    )
    assert found["copy_distance"].value > 10


def test_the_error_covers_the_ratio_of_new_draws() -> None:
    """A 95 % interval of 200 samples holds the ratio of 40,000 in about 95 % of 200 draws: 180 to 199 at 3 sd."""
    noise = np.random.RandomState(1).normal(size=(40_000, 10))
    x = cloud(40_000)
    truth = compare_copies(x, x + 0.5 * noise)["copy_distance"].value
    found = [
        compare_copies(some, some + 0.5 * more)
        for some, more in zip(np.split(x, 200), np.split(noise, 200), strict=True)
    ]
    hits = sum(abs(each["copy_distance"].value - truth) < 1.96 * each["copy_distance"].std_error for each in found)
    assert 180 <= hits <= 199


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = cloud().astype(np.float32), (cloud() + cloud(seed=1)).astype(np.float16)
    whole = compare_copies(x, y)
    monkeypatch.setattr(copies, "BLOCK", 70)
    for name, estimate in compare_copies(x, y).items():
        assert estimate.value == whole[name].value, name


@pytest.mark.parametrize("n", [2, 3, 50])
def test_everyone_meets_someone_else_and_is_met_once(n: int) -> None:
    found = partners(n)
    assert (found != np.arange(n)).all()
    assert np.array_equal(np.sort(found), np.arange(n))


def test_a_collapsed_layer_has_no_value_and_says_why() -> None:
    found = compare_copies(np.ones((9, 3)), cloud(9, 3))
    assert {estimate.reason for estimate in found.values()} == {"all 9 samples coincide (a collapsed layer)"}
    zero = cloud(9, 3)
    found = compare_copies(zero, np.zeros((9, 3)))
    assert found["copy_cosine"].reason == "all samples, or all of their copies, are 0 in this layer"
    assert found["copy_distance"].value > 0
    half = zero.copy()
    half[:4] = 0
    assert compare_copies(zero, half)["copy_cosine"].n_used == 5


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two arrays of the same n >= 2 samples, got \(9, 3\) and \(8, 3\)"):
        compare_copies(cloud(9, 3), cloud(8, 3))
    with pytest.raises(ValueError, match=r"n >= 2 samples, got \(1, 3\)"):
        compare_copies(cloud(1, 3), cloud(1, 3))
