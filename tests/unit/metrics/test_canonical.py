"""CCA and SVCCA: by QR decompositions, closed forms, simulated chance levels, invariances with controls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rra_cli.metrics import canonical
from rra_cli.metrics import principal as principal_module
from rra_cli.metrics.canonical import cca, cca_pairs, svcca, svcca_pairs
from rra_cli.metrics.canonical_chance import mean_chance, mean_square_chance
from rra_cli.metrics.centred import Centred, forget
from rra_cli.metrics.metric import Workshop
from rra_cli.metrics.principal import TooLargeError, kept, principal
from rra_cli.neighbors.graph import InputError

RNG = np.random.default_rng


def related(n: int = 120, d: int = 5, e: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = RNG(0)
    x = rng.normal(size=(n, d)) * np.arange(1.0, d + 1) + 4.0
    return x, np.tanh(x @ rng.normal(size=(d, e)) / 3) + 0.3 * rng.normal(size=(n, e))


def by_qr(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bjoerck and Golub 1973: singular values of Qx' Qy."""
    bases = [np.linalg.qr(z - z.mean(axis=0))[0] for z in (x, y)]
    return np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)


@pytest.mark.parametrize(("d", "e"), [(5, 8), (1, 1), (1, 30), (40, 40)])
def test_cca_is_that_of_qr(d: int, e: int) -> None:
    x, y = related(d=d, e=e)
    expected = by_qr(x, y)
    assert float(cca(x, y)) == pytest.approx(expected.mean(), rel=1e-9)
    assert float(cca(x, y, summary="mean_square")) == pytest.approx((expected**2).mean(), rel=1e-9)


def test_many_correlations_are_the_same_from_eigenvalues(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = related(d=12, e=30)
    for pair in ((x, y), (y, x)):
        exact = float(cca(*pair))
        with monkeypatch.context() as patched:
            patched.setattr(canonical, "EXACT_SVD", 5)
            assert float(cca(*pair)) == pytest.approx(exact, rel=1e-9)


def test_one_dimension_is_pearsons_correlation() -> None:
    x, y = related(d=1, e=1)
    assert float(cca(x, -7.0 * y + 3.0)) == pytest.approx(abs(np.corrcoef(x[:, 0], y[:, 0])[0, 1]), rel=1e-10)


def test_cca_sees_no_invertible_linear_map_and_cka_and_svcca_do() -> None:
    from rra_cli.metrics.hsic import linear_cka

    x, y = related()
    mapped = x @ (RNG(1).normal(size=(5, 5)) * [1.0, 1e3, 1.0, 1.0, 1e-2]) + 9.0
    for summary in ("mean", "mean_square"):
        assert float(cca(mapped, y, summary=summary)) == pytest.approx(float(cca(x, y, summary=summary)), rel=1e-6)
    assert float(cca(mapped, x)) == pytest.approx(1.0, rel=1e-6)
    assert abs(float(linear_cka(mapped, y)) - float(linear_cka(x, y))) > 0.02
    assert abs(float(svcca(mapped, y)) - float(svcca(x, y))) > 0.02
    # Controls: what is not linear, and a map that loses a dimension.
    assert float(cca(np.exp(x / 2), x)) < 0.95
    assert float(cca(x @ RNG(2).normal(size=(5, 2)) @ RNG(3).normal(size=(2, 5)), x)) == pytest.approx(1.0, rel=1e-6)
    assert svcca(x, y).details["dimensions"].tolist() == [5, 8]


def test_svcca_sees_neither_rotation_nor_scale_nor_shift() -> None:
    x, y = related()
    rotation = np.linalg.qr(RNG(4).normal(size=(5, 5)))[0]
    assert float(svcca(-3.0 * x @ rotation + 50.0, y, share=0.9)) == pytest.approx(float(svcca(x, y, share=0.9)))
    assert abs(float(svcca(x * [1, 1, 1, 1, 20], y, share=0.9)) - float(svcca(x, y, share=0.9))) > 0.02


def test_svcca_keeps_the_directions_of_most_variance() -> None:
    """Variances 100, 10, 1: 99 % of them need two; of the singular values 10, 3.2, 1 all three (the notebooks' sum)."""
    rng = RNG(5)
    q = np.linalg.qr(rng.normal(size=(60, 6)) - 0.0)[0]
    q -= q.mean(axis=0)
    q = np.linalg.qr(q)[0]
    x, y = q[:, :3] * np.sqrt([100.0, 10.0, 1.0]), q[:, 1:4] * np.sqrt([100.0, 10.0, 1.0])
    estimate = svcca_pairs([x, y])[0, 1]
    assert estimate.details["dimensions"].tolist() == [2, 2]
    np.testing.assert_allclose(estimate.details["variance_held"], 110 / 111)
    assert float(estimate) == pytest.approx(0.5)  # of (1, 2) and (2, 3) one is shared
    singular = svcca_pairs([x, y], share_of="singular_values")[0, 1]
    assert singular.details["dimensions"].tolist() == [3, 3]
    assert float(singular) == pytest.approx(2 / 3)
    assert kept(np.array([100.0, 10.0, 1.0]), 111.0, 0.5, 1e-5) == 1


@pytest.mark.parametrize(
    ("p", "q", "n"), [(1, 1, 30), (1, 9, 30), (10, 10, 60), (12, 30, 60), (30, 45, 60), (20, 59, 60)]
)
def test_chance_levels_are_those_of_unrelated_subspaces(p: int, q: int, n: int) -> None:
    """30 draws; the mean square exactly, the mean within 1 % and the error of the draws. Control: without the ones."""
    rng = RNG(6)
    draws = [by_qr(rng.normal(size=(n, p)), rng.normal(size=(n, q))) for _ in range(30)]
    for power, chance in ((1, mean_chance(p, q, n)), (2, mean_square_chance(p, q, n))):
        found = np.array([(draw**power).mean() for draw in draws])
        error = found.std() / np.sqrt(len(found))
        assert abs(found.mean() - chance) < 4 * error + 0.012 * chance
    assert mean_chance(p, q, n) == mean_chance(q, p, n) <= mean_square_chance(p, q, n) ** 0.5 + 1e-9


def test_a_layer_with_as_many_features_as_samples_says_nothing() -> None:
    """Value and chance are 1, so that nobody takes it for similarity."""
    rng = RNG(7)
    estimate = cca(rng.normal(size=(20, 25)), rng.normal(size=(20, 3)))
    assert float(estimate) == estimate.chance == 1.0


def test_directions_of_little_variance_keep_their_digits() -> None:
    """Standard deviations from 1 to 1e-4: still 1e-7 of QR of the columns brought to the same size."""
    x, y = related()
    small = x * 10.0 ** -np.arange(5)
    assert float(cca(small, y)) == pytest.approx(by_qr(x, y).mean(), rel=1e-7)
    # And what is rounding does not count: a column that repeats another.
    assert float(cca(np.hstack([x, x[:, :1] * (1 + 1e-9)]), y)) == pytest.approx(by_qr(x, y).mean(), rel=1e-7)


def test_a_small_direction_counts_however_many_large_ones_there_are() -> None:
    """199 of variance 1 and one of (1.2e-5)^2, less than a 1e-12th of all: above the tolerance, so one of the 200."""
    rng = RNG(11)
    x = rng.normal(size=(400, 200))
    x = np.linalg.qr(x - x.mean(axis=0))[0] * np.append(np.ones(199), 1.2e-5)
    assert principal(Centred(x)).rank == 200
    assert principal(Centred(x), tolerance=1e-4).rank == 199
    assert principal(Centred(x), share=0.5).rank == 100


@pytest.mark.parametrize(("n", "d"), [(90, 140), (140, 90)])
def test_a_randomised_basis_holds_what_it_says(n: int, d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orthonormal; the variance held is that of a projection, at least the share; hardly more directions than exact."""
    rng = RNG(8)
    x = (rng.normal(size=(n, 60)) * 0.9 ** np.arange(60)) @ rng.normal(size=(60, d)) + 2.0
    layer = Centred(x)
    exact = principal(layer, share=0.95)
    monkeypatch.setattr(principal_module, "LARGEST", 60)
    monkeypatch.setattr(principal_module, "STEP", 10)
    found = principal(layer, share=0.95, seed=3)
    assert exact.exact
    assert not found.exact
    np.testing.assert_allclose(found.q.T @ found.q, np.eye(found.rank), atol=1e-10)
    centred = x - x.mean(axis=0)
    assert np.square(found.q.T @ centred).sum() / np.square(centred).sum() == pytest.approx(found.held, rel=1e-10)
    assert found.held >= 0.95
    assert exact.rank <= found.rank <= exact.rank + 2
    np.testing.assert_allclose(found.spectrum[:10], exact.spectrum[:10], rtol=0.02)
    again = principal(layer, share=0.95, seed=3)
    np.testing.assert_array_equal(again.q, found.q)
    # As a similarity: near that of the exact bases.
    y = np.tanh(x / 10)
    other = principal(Centred(y), share=0.95)
    with monkeypatch.context() as patched:
        patched.setattr(principal_module, "LARGEST", 6144)
        true = float(svcca(x, y, share=0.95))
    assert np.linalg.svd(found.q.T @ other.q, compute_uv=False).mean() == pytest.approx(true, abs=0.05)


def test_a_basis_that_is_not_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(principal_module, "LARGEST", 16)
    monkeypatch.setattr(principal_module, "STEP", 8)
    x = RNG(9).normal(size=(40, 50))
    assert "the smaller of the two may be 16" in cca(x, x[:, :3]).reason
    assert "16 directions hold" in svcca(x, x[:, :3]).reason
    assert float(svcca(x[:, :3], x[:, :3])) == 1.0
    with pytest.raises(TooLargeError):
        principal(Centred(x), share=0.9, of_singular_values=True)


def test_bases_may_lie_on_disk(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = related()
    here = cca_pairs([x, y])
    monkeypatch.setattr(canonical, "IN_MEMORY", 0)
    there = cca_pairs([x, y], workshop=Workshop(folder=tmp_path))
    assert float(here[0, 1]) == float(there[0, 1])
    assert not list(tmp_path.iterdir())


def test_collapsed_layers_and_bad_parameters() -> None:
    x, y = related()
    found = svcca_pairs([x, np.ones((120, 4)), y])
    assert [bool(found[a, b].reason) for a, b in ((0, 1), (1, 1), (2, 1), (0, 2))] == [True, True, True, False]
    assert (found[2, 0].details["dimensions"] == found[0, 2].details["dimensions"][::-1]).all()
    for call, match in (
        (lambda: cca(x, y, summary="median"), "mean, mean_square"),
        (lambda: svcca(x, y, share=1.0), "between 0 and 1"),
        (lambda: svcca_pairs([x, y], share_of="roots"), "variance, singular_values"),
        (lambda: cca_pairs([x, y], tolerance=0.0), "tolerance"),
        (lambda: cca_pairs([x, y], tolerance=1e-9), "from 1e-06 to 1"),
        (lambda: cca(x, y[:-1]), "same samples"),
    ):
        with pytest.raises(InputError, match=match):
            call()


def test_what_was_read_of_a_file_is_not_kept_in_memory(tmp_path) -> None:
    """Pages of a mapped file leave the process; what was written to one stays in it. Controls: other arrays."""
    path = tmp_path / "x.npy"
    x = RNG(10).normal(size=(4000, 500)).astype(np.float32)
    np.save(path, x)
    mapped = np.load(path, mmap_mode="r")
    layer = Centred(mapped[:3000])
    np.testing.assert_allclose(layer.mean, x[:3000].mean(axis=0, dtype=np.float64))
    assert resident(path) < 100_000
    assert mapped[:].sum() == x.sum()
    assert resident(path) > 4_000_000, "the control"
    written = np.lib.format.open_memmap(tmp_path / "q.npy", mode="w+", dtype=np.float64, shape=(100, 10))
    written[:] = 7.0
    forget(written)
    assert (written == 7.0).all()
    private = np.load(path, mmap_mode="c")
    private[0, 0] = 42.0
    for array in (private, private[:2], np.asarray(private), x, np.asarray(mapped)):
        forget(array)
    assert private[0, 0] == 42.0


def resident(path: Path) -> int:
    """Bytes of the file that count as this process's memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    return sum(
        int(next(line for line in lines if line.startswith("Rss:")).split()[1]) * 1024
        for header in lines
        if header.endswith(str(path))
    )
