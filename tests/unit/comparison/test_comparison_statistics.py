"""Means, intervals and tests over seeds: closed forms, published tables, coverage in simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rra_cli.comparison.pairs import TOO_FEW, PairSet, summarise_pairs
from rra_cli.comparison.statistics import NO_SCATTER, Stratum, check_level, difference, jackknife, summarise, t_quantile

# Student's t, two-sided 95 %: any statistics textbook's table.
TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 7: 2.365, 30: 2.042}


@pytest.mark.parametrize(("df", "quantile"), TABLE.items())
def test_the_quantiles_are_those_of_the_printed_table(df: int, quantile: float) -> None:
    assert float(t_quantile(0.95, df)) == pytest.approx(quantile, abs=5e-4)
    assert math.isnan(float(t_quantile(0.95, 0)))


def test_mean_sd_and_interval_have_their_closed_forms() -> None:
    found = summarise([1.0, 2.0, 3.0, 6.0])
    # deviations -2 -1 0 3: sd = sqrt(14 / 3), half = 3.182446 sd / 2
    assert (found.mean, found.n) == (3.0, 4)
    assert found.sd == pytest.approx(math.sqrt(14 / 3), rel=1e-15)
    assert found.high - found.mean == pytest.approx(3.182446305284263 * math.sqrt(14 / 3) / 2, rel=1e-12)
    assert found.high - found.mean == pytest.approx(found.mean - found.low, rel=1e-12)


def test_what_has_no_value_is_not_counted_and_one_value_has_no_interval() -> None:
    found = summarise([2.0, float("nan"), 4.0, float("inf")])
    assert (found.mean, found.n) == (3.0, 2)
    one = summarise([5.0])
    assert (one.mean, one.n) == (5.0, 1)
    assert all(math.isnan(value) for value in (one.sd, one.low, one.high))
    assert summarise([]).n == 0
    assert math.isnan(summarise([float("nan")]).mean)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_seeds_changes_no_bit(values: list[float], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = values.copy()
    random.shuffle(shuffled)
    assert summarise(values) == summarise(shuffled)


def test_the_control_a_plain_sum_depends_on_the_order() -> None:
    values = [1e16, 1.0, -1e16, 1.0]
    assert sum(values) != sum(sorted(values))
    assert summarise(values).mean == summarise(sorted(values)).mean == 0.5


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, 2.0])
def test_a_level_outside_of_0_and_1_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="the level of intervals must lie between 0 and 1"):
        check_level(level)


# Differences


def test_equal_seeds_are_compared_seed_by_seed_and_others_by_welch() -> None:
    one, other = {0: 1.0, 1: 2.5, 2: 3.0, 3: 4.5}, {0: 0.5, 1: 2.0, 2: 2.0, 3: 4.4}
    paired = difference(one, other)
    oracle = stats.ttest_rel(list(one.values()), list(other.values()))
    assert paired.paired
    assert paired.p == pytest.approx(oracle.pvalue, rel=1e-12)
    assert (paired.low, paired.high) == pytest.approx(tuple(oracle.confidence_interval(0.95)), rel=1e-12)
    apart = difference(one, {seed + 4: value for seed, value in other.items()})
    welch = stats.ttest_ind(list(one.values()), list(other.values()), equal_var=False)
    assert not apart.paired
    assert apart.p == pytest.approx(welch.pvalue, rel=1e-12)
    assert (apart.low, apart.high) == pytest.approx(tuple(welch.confidence_interval(0.95)), rel=1e-12)
    assert paired.value == pytest.approx(apart.value)
    assert paired.p < apart.p, "the control: here pairing matters"


def test_the_order_of_seeds_within_a_group_does_not_unpair_them() -> None:
    one, other = {0: 1.0, 1: 2.0, 2: 4.0}, {2: 3.5, 0: 0.2, 1: 1.9}
    assert difference(one, other) == difference(dict(sorted(one.items())), dict(sorted(other.items())))


def test_runs_without_seeds_are_not_paired() -> None:
    """A user's files have no seed: that two have none makes them no pair."""
    assert not difference({None: 1.0}, {None: 2.0}).paired
    assert difference({0: 1.0}, {0: 2.0}).paired, "the control"
    within = np.array([[np.nan, 0.4], [0.4, np.nan]])[..., None]
    of = {seeds: [PairSet(within, group, group, seeds, seeds) for group in (0, 1)] for seeds in ((None, None), (0, 1))}
    assert [summarise_pairs(*sets)[1] for sets in of.values()] == [False, True]


def test_differences_without_scatter_have_neither_interval_nor_p() -> None:
    """Accuracies that differ by .019 in every seed: what is left of their scatter is rounding."""
    one = {0: 0.596, 1: 0.3, 2: 0.06}
    found = difference({seed: value + 0.019 for seed, value in one.items()}, one)
    assert found.value == pytest.approx(0.019, abs=1e-15)
    assert all(math.isnan(value) for value in (found.low, found.high, found.p))
    assert found.reason == NO_SCATTER == "the differences are all equal: no scatter"
    rounded = np.array([value + 0.019 - value for value in one.values()])
    t = rounded.mean() / (rounded.std(ddof=1) / math.sqrt(3))
    assert 0.0 < 2 * stats.t.sf(t, 2) < 1e-30, "the control: a t test of the rounding"
    assert difference(one, one).reason == NO_SCATTER
    apart = difference({3: 1.0, 4: 1.0}, {0: 2.0, 1: 2.0, 2: 2.0})
    assert (apart.reason, apart.paired, math.isnan(apart.p)) == (NO_SCATTER, False, True)
    small = difference({0: 0.615 + 1e-6, 1: 0.319, 2: 0.079}, one)
    assert small.reason == "", "the control: one sample of a million in one seed is scatter"
    assert small.p < 1e-8
    alone = difference({0: 1.0}, {0: 2.0})
    assert (alone.reason, math.isnan(alone.p)) == ("", True)


def test_rounding_is_that_of_what_was_subtracted() -> None:
    """Gaps of .1 as .9 - .8 and .4 - .3: equal but for the rounding of numbers that are larger than they are."""
    gaps, nothing = {0: 0.9 - 0.8, 1: 0.4 - 0.3, 2: 0.7 - 0.6}, dict.fromkeys(range(3), 0.0)
    tiny = {seed: value - 0.1 for seed, value in gaps.items()}
    assert difference(tiny, nothing, scale=1.0).reason == NO_SCATTER
    assert difference(tiny, nothing).reason == "", "the control: as values of their own they scatter"


# Pairs of models


def pair_set(values: np.ndarray, seeds: tuple[int, ...], group: int = 0) -> PairSet:
    return PairSet(np.asarray(values, float), group, group, seeds, seeds)


def test_the_jackknife_of_a_mean_is_the_t_interval_of_that_mean() -> None:
    values = np.array([1.0, 2.0, 3.0, 6.0])
    left_out = np.array([np.delete(values, at).mean() for at in range(4)])
    found = jackknife(np.array(values.mean()), [Stratum(left_out, np.ones(4, bool))])
    plain = summarise(values)
    assert (float(found.low), float(found.high)) == pytest.approx((plain.low, plain.high), rel=1e-12)


def test_a_unit_that_is_absent_from_a_cell_does_not_count_there() -> None:
    values = np.array([1.0, 2.0, 3.0])
    left_out = np.array([np.delete(values, at).mean() for at in range(3)])
    alone = jackknife(np.array(2.0), [Stratum(left_out, np.ones(3, bool))])
    more = jackknife(np.array(2.0), [Stratum(np.append(left_out, 2.0), np.array([True, True, True, False]))])
    assert (float(alone.low), float(alone.high)) == (float(more.low), float(more.high))


def test_mean_and_sd_over_ordered_pairs_have_their_closed_forms() -> None:
    # Three models, two layers: cell (0, 1) of the pair (i, j) is 10 i + j, its mirror is another value.
    values = np.full((3, 3, 2, 2), np.nan)
    for i in range(3):
        for j in range(3):
            if i != j:
                values[i, j] = [[i + j, 10 * i + j], [10 * j + i, i * j]]
    pairs = pair_set(values, (0, 1, 2))
    off = [10 * i + j for i in range(3) for j in range(3) if i != j]
    same = np.eye(2, dtype=bool)
    assert pairs.mean()[0, 1] == np.mean(off)
    assert pairs.sd(same)[0, 1] == pytest.approx(np.std(off, ddof=1))
    assert pairs.sd(same)[0, 0] == pytest.approx(np.std([1, 2, 3], ddof=1)), "each pair once on the diagonal"
    assert pairs.sd()[0, 0] != pytest.approx(np.std([1, 2, 3], ddof=1)), "the control: twice is too small"


def test_two_models_have_a_mean_but_no_interval() -> None:
    values = np.array([[np.nan, 0.4], [0.4, np.nan]])[..., None]
    found, _ = summarise_pairs(pair_set(values, (0, 1)))
    assert found.value[0] == 0.4
    assert np.isnan(found.low[0])
    assert np.isnan(found.high[0])


def test_an_interval_over_pairs_covers_the_truth_only_with_seeds_as_units() -> None:
    """Similarity = what both models bring with them + noise: pairs that share a model are alike."""
    random, covered, naive, trials, n = np.random.RandomState(0), 0, 0, 400, 6
    for _ in range(trials):
        own, noise = random.normal(size=n), 0.2 * random.normal(size=(n, n))
        values = own[:, None] + own[None, :] + noise + noise.T
        np.fill_diagonal(values, np.nan)
        found, _ = summarise_pairs(pair_set(values[..., None], tuple(range(n))))
        covered += bool(found.low[0] <= 0.0 <= found.high[0])
        pairs = summarise(values[np.triu_indices(n, 1)])
        naive += bool(pairs.low <= 0.0 <= pairs.high)
    assert covered / trials > 0.93
    assert naive / trials < 0.75, "the control: 15 pairs are not 15 independent values"


def test_groups_with_the_same_seeds_lose_a_seed_together() -> None:
    """What a seed adds to both groups cancels in their difference; with other seeds it does not."""
    random, n = np.random.RandomState(1), 5
    shared = random.normal(size=n)
    base = shared[:, None] + shared[None, :]
    np.fill_diagonal(base, np.nan)
    jitter = 0.01 * random.normal(size=(n, n))
    values = base[..., None], (base + 0.5 + jitter + jitter.T)[..., None]
    seeds = tuple(range(n))
    one, other = PairSet(values[0], 0, 0, seeds, seeds), PairSet(values[1], 1, 1, seeds, seeds)
    found, together = summarise_pairs(one, other)
    apart, not_together = summarise_pairs(one, PairSet(values[1], 1, 1, (7, 8, 9, 10, 11), (7, 8, 9, 10, 11)))
    assert together
    assert not not_together
    assert found.value == pytest.approx(apart.value)
    assert found.value[0] == pytest.approx(-0.5, abs=0.02)
    assert found.p[0] < 1e-4
    assert (apart.high - apart.low)[0] > 10 * (found.high - found.low)[0]


def test_between_two_groups_of_other_seeds_both_sides_count() -> None:
    """A mean over all pairs of x_i + y_j has the variance of mean x plus that of mean y: Welch's interval."""
    random = np.random.RandomState(2)
    x, y = random.normal(size=4), 3 * random.normal(size=6)
    found, _ = summarise_pairs(PairSet((x[:, None] + y[None, :])[..., None], 0, 1, (0, 1, 2, 3), (4, 5, 6, 7, 8, 9)))
    oracle = stats.ttest_ind(x, -y, equal_var=False).confidence_interval(0.95)
    assert (found.low[0], found.high[0]) == pytest.approx(tuple(oracle), rel=1e-9)


def between(values: np.ndarray, a: tuple[int | None, ...], b: tuple[int | None, ...]) -> PairSet:
    return PairSet(np.asarray(values, float)[..., None], 0, 1, a, b)


def test_pairs_of_one_seed_are_no_part_of_a_mean_between_groups() -> None:
    """Of one seed .98, else .75: the mean is .75 of two seeds and of four, as it would be within a group."""
    for n in (2, 4):
        pairs = between(np.where(np.eye(n), 0.98, 0.75), tuple(range(n)), tuple(range(n)))
        assert pairs.apart().mean()[0] == pytest.approx(0.75, abs=1e-15)
        assert pairs.apart().count()[0] == n * (n - 1)
        assert (pairs.together().mean()[0], pairs.together().count()[0]) == (pytest.approx(0.98, abs=1e-15), n)
        assert pairs.mean()[0] == pytest.approx(0.75 + 0.23 / n), "the control: all pairs depend on n"
    other = between(np.full((2, 2), 0.75), (0, 1), (2, 3))
    unknown = between(np.full((2, 2), 0.75), (None, 1), (None, 2))
    assert [each.apart().count()[0] for each in (other, unknown)] == [4, 4]
    one = between([[0.98]], (3,), (3,))
    assert one.apart() is one, "without others they are what there is"
    assert not between([[0.98]], (3,), (4,)).of_one_seed


def test_between_groups_two_seeds_of_either_have_no_interval() -> None:
    """.989 .754 .755 .980 had [.813, .926], which holds none of the four."""
    two = between([[0.989, 0.754], [0.755, 0.980]], (0, 1), (0, 1))
    for pairs in (two, two.apart(), between(np.random.RandomState(0).rand(2, 5), (0, 1), (2, 3, 4, 5, 6))):
        found, _ = summarise_pairs(pairs)
        assert np.isfinite(found.value[0])
        assert np.isnan([found.low[0], found.high[0], found.p[0]]).all()
        assert found.reason[0] == TOO_FEW == "no interval: it needs three seeds of each group"
    enough, _ = summarise_pairs(between(np.random.RandomState(0).rand(3, 5), (0, 1, 7), (2, 3, 4, 5, 6)))
    assert enough.low[0] < enough.high[0], "the control"
    assert enough.reason[0] == ""


def test_between_groups_of_equal_seeds_the_interval_is_that_of_what_seeds_bring() -> None:
    """x_i + y_j over i ≠ j has the mean of z = x + y and loses z_s with a seed: the t interval of z."""
    random = np.random.RandomState(3)
    x, y = random.normal(size=5), random.normal(size=5)
    values = x[:, None] + y[None, :] + 50.0 * np.eye(5)  # of one seed far off: it has no say
    found, together = summarise_pairs(between(values, (0, 1, 2, 3, 4), (0, 1, 2, 3, 4)).apart())
    oracle = summarise(x + y)
    assert together
    assert (found.value[0], found.low[0], found.high[0]) == pytest.approx((oracle.mean, oracle.low, oracle.high))
    apart, _ = summarise_pairs(between(x[:, None] + y[None, :], (0, 1, 2, 3, 4), (5, 6, 7, 8, 9)))
    assert apart.high[0] - apart.low[0] != pytest.approx(oracle.high - oracle.low, rel=0.01), "the control: Welch's"


def test_intervals_between_groups_that_share_some_seeds_cover_the_truth() -> None:
    """What a seed brings is the same in both groups; leaving it out of one alone takes them for independent."""
    random, covered, trials = np.random.RandomState(4), 0, 300
    for _ in range(trials):
        own = random.normal(size=7)
        a, b = tuple(range(6)), tuple(range(1, 7))
        found, together = summarise_pairs(between(own[list(a)][:, None] + own[list(b)][None, :], a, b).apart())
        assert not together
        covered += bool(found.low[0] <= 0.0 <= found.high[0])
    assert 0.93 < covered / trials < 0.985


def test_a_difference_of_means_over_pairs_without_scatter_has_no_interval() -> None:
    random = np.random.RandomState(5)
    values = np.full((4, 4, 2), np.nan)
    values[~np.eye(4, dtype=bool)] = 0.1 + 0.8 * random.rand(12, 2)
    shifted = values + np.array([0.019, 0.0])
    shifted[0, 1, 1] += 1e-9
    seeds = (0, 1, 2, 3)
    found, _ = summarise_pairs(PairSet(shifted, 1, 1, seeds, seeds), PairSet(values, 0, 0, seeds, seeds))
    assert found.value[0] == pytest.approx(0.019, abs=1e-15)
    assert np.isnan([found.low[0], found.high[0], found.p[0]]).all()
    assert found.reason.tolist() == [NO_SCATTER, ""]
    assert found.low[1] < found.high[1], "the control: one pair differs by a billionth"


def test_one_side_without_scatter_leaves_the_scatter_of_the_other() -> None:
    found = difference({0: 1.0, 1: 1.0, 2: 1.0}, {3: 2.0, 4: 3.0, 5: 4.0})
    assert found.reason == ""
    assert found.low < -2 < found.high
    nan = np.nan
    still = PairSet(np.where(np.eye(3), nan, 1.0), 0, 0, (0, 1, 2), (0, 1, 2))
    values = np.array([[nan, 0.2, 0.3], [0.2, nan, 0.7], [0.3, 0.7, nan]])
    told, _ = summarise_pairs(still, PairSet(values, 1, 1, (3, 4, 5), (3, 4, 5)))
    assert told.reason == ""
    assert np.isfinite(told.low)
