"""Canonical correlations without single samples, against leaving these out."""

from __future__ import annotations

import numpy as np
import pytest

from rra_cli.metrics import canonical_jackknife as module
from rra_cli.metrics.canonical_jackknife import canonical_spread
from rra_cli.metrics.centred import centred
from rra_cli.metrics.jackknife import spread
from rra_cli.metrics.principal import Principal, principal

RNG = np.random.default_rng


def pair(n: int, widths: tuple[int, int] = (6, 4), seed: int = 0) -> list[np.ndarray]:
    rng = RNG(seed)
    x = rng.normal(size=(n, widths[0])) * 1.5 ** -np.arange(widths[0]) + 2.0
    return [x, x @ rng.normal(size=widths) + rng.normal(size=(n, widths[1]))]


def bases(layers: list[np.ndarray]) -> list[Principal]:
    return [principal(layer) for layer in centred(layers)]


def correlations(layers: list[np.ndarray], kept: tuple[int, ...] = ()) -> np.ndarray:
    """Canonical correlations, of the first principal directions alone where their numbers are given."""
    spans = [np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[0] for x in layers]
    spans = [span[:, :count] for span, count in zip(spans, kept, strict=True)] if kept else spans
    return np.linalg.svd(spans[0].T @ spans[1], compute_uv=False)


def left_out(layers: list[np.ndarray], power: int = 1, kept: tuple[int, ...] = ()) -> np.ndarray:
    """The mean correlation, or square, without one sample."""
    parts = ([np.delete(x, at, 0) for x in layers] for at in range(len(layers[0])))
    return np.array([(correlations(part, kept) ** power).mean() for part in parts])


@pytest.mark.parametrize("widths", [(6, 4), (4, 6), (20, 15)])
def test_of_squares_it_is_the_jackknife(widths: tuple[int, int]) -> None:
    layers = pair(60, widths)
    found = canonical_spread(*bases(layers), *widths, squares=True)
    expected = spread(left_out(layers, power=2), 60)
    assert found.std_error == pytest.approx(expected.std_error, rel=1e-8)
    assert found.decide == pytest.approx(expected.decide, rel=1e-6)


def test_of_correlations_it_is_the_jackknife_to_the_first_order() -> None:
    for n, tolerance in ((60, 0.1), (240, 0.03)):
        layers = pair(n)
        expected = spread(left_out(layers), n)
        found = canonical_spread(*bases(layers), 6, 4, squares=False)
        assert found.std_error == pytest.approx(expected.std_error, rel=tolerance), n


def test_directions_that_the_variance_chooses_turn() -> None:
    """Without their turning, the error is too small."""
    rng = RNG(3)
    x = rng.normal(size=(150, 5)) * [3.0, 2.5, 2.0, 1.5, 1.2]
    layers = [x, x @ np.diag([0.1, 1.0, 2.0, 1.5, 0.2]) + 0.4 * rng.normal(size=(150, 5))]
    expected = spread(left_out(layers, kept=(3, 3)), 150).std_error
    every = bases(layers)
    turning = canonical_spread(*every, 3, 3, squares=False).std_error
    alone = [Principal(each.q[:, :3], each.spectrum[:3], each.held, True) for each in every]
    fixed = canonical_spread(*alone, 3, 3, squares=False)
    assert turning == pytest.approx(expected, rel=0.1)
    assert fixed.std_error < 0.8 * expected, "the control"


def test_equal_variances_do_not_make_it_boundless(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = bases(pair(200))
    equal = Principal(one.q, np.ones(one.rank), one.held, True)
    found = canonical_spread(equal, other, 3, 4, squares=False)
    assert 0.0 < found.std_error < 1.0
    monkeypatch.setattr(module, "_SMALLEST_GAP", 1e-9)
    assert canonical_spread(equal, other, 3, 4, squares=False).std_error > 1e3


def test_a_random_part_of_many_samples_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = pair(1200)
    whole = canonical_spread(*bases(layers), 6, 4, squares=False)
    monkeypatch.setattr(module, "MOST", 400)
    part = canonical_spread(*bases(layers), 6, 4, squares=False)
    assert part.std_error == pytest.approx(whole.std_error, rel=0.15)
    assert part.std_error != whole.std_error
    assert part.n == 1200


def test_with_a_direction_of_one_sample_there_is_none() -> None:
    layers = pair(60)
    layers[0] = np.hstack([layers[0], np.eye(60)[:, :1]])
    found = canonical_spread(*bases(layers), 7, 4, squares=False)
    assert found.reason == "some direction is that of one sample alone"
    layers[0][1, -1] = 0.3  # the control
    assert not canonical_spread(*bases(layers), 7, 4, squares=True).reason.startswith("some direction")


def test_with_as_many_directions_as_samples_there_is_none() -> None:
    layers = pair(60, (40, 19))
    found = canonical_spread(*bases(layers), 40, 19, squares=False)
    assert found.reason == "as many directions as samples: some correlations are 1 whatever the layers are"
    assert not canonical_spread(*bases(pair(60, (39, 18))), 39, 18, squares=True).reason
