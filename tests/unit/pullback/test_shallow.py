"""One hidden layer in closed form: equal to automatic differentiation, and at large width to infinite width."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from math import factorial, sqrt
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch.nn import functional

from rra_cli.errors import UserError
from rra_cli.pullback.activations import Smooth, derivatives
from rra_cli.pullback.curvature import Curvatures
from rra_cli.pullback.sectional import manifold_scalar_curvature
from rra_cli.pullback.shallow import MOST_MINORS, Shallow
from rra_cli.pullback.shallow_width import Wide, slope_moments, slope_moments_by_quadrature

SMOOTH: tuple[Smooth, ...] = get_args(Smooth)
THEIRS: dict[Smooth, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "erf": lambda z: torch.erf(z / sqrt(2)),
    "gelu": functional.gelu,
    "softplus": functional.softplus,
    "sin": torch.sin,
}


def shallow(n: int, d: int, activation: Smooth, seed: int = 0) -> Shallow:
    generator = torch.Generator().manual_seed(seed)
    weights, biases = torch.randn(n, d, generator=generator), torch.randn(n, generator=generator)
    return Shallow(weights, biases, activation)


def points(m: int, d: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(m, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_autograd(f: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """J^T J, `(m, d, d)`."""
    jacobians = torch.func.vmap(torch.func.jacrev(lambda point: f(point[None])[0]))(x)
    return jacobians.mT @ jacobians


@pytest.mark.parametrize("activation", SMOOTH)
def test_derivatives_of_activations_are_those_of_autograd(activation: Smooth) -> None:
    z = torch.linspace(-6, 6, 49, dtype=torch.float64).requires_grad_()
    value = THEIRS[activation](z)
    for number, ours in enumerate(derivatives(activation, z.detach(), 5)):
        np.testing.assert_allclose(ours, value.detach(), atol=1e-13, rtol=1e-12, err_msg=f"derivative {number}")
        (value,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    assert [len(derivatives(activation, z.detach(), order)) for order in range(4)] == [1, 2, 3, 4]


@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize(("n", "d"), [(9, 2), (12, 3), (8, 5)])
def test_volume_and_curvature_are_those_of_autograd(activation: Smooth, n: int, d: int) -> None:
    layer, x = shallow(n, d, activation), points(6, d)
    g = by_autograd(lambda x: THEIRS[activation](x @ layer.weights.T + layer.biases) / sqrt(n), x)
    np.testing.assert_allclose(layer.metric(x), g, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(layer.log_volume(x), torch.logdet(g) / 2, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(layer.determinant_by_minors(x), torch.linalg.det(g), rtol=1e-10)
    found = manifold_scalar_curvature(layer, x)
    assert isinstance(found, Curvatures)
    ours = layer.scalar_curvature(x).numpy()
    # Differences of large terms: to 1e-10 of the larger of them.
    scale = np.abs(found.per_output().value) + 1 / np.exp(found.per_output().log_volume)
    np.testing.assert_array_less(np.abs(ours - found.per_output().value) / scale, 1e-10)


def test_the_sum_over_all_minors_is_the_published_one() -> None:
    """1 / (n^d d!) over every ordered d-tuple, with minors by their permutations."""
    n, d = 5, 3
    layer, x = shallow(n, d, "erf"), points(2, d)
    slopes = derivatives("erf", x @ layer.weights.T + layer.biases, 1)[1].numpy()
    weights, expected = layer.weights.numpy(), np.zeros(2)
    for units in product(range(n), repeat=d):
        minor = 0.0
        for order in permutations(range(d)):
            inversions = sum(order[i] > order[j] for i in range(d) for j in range(i + 1, d))
            minor += (-1) ** inversions * np.prod([weights[unit, order[k]] for k, unit in enumerate(units)])
        expected += minor**2 * np.prod(slopes[:, units] ** 2, axis=1)
    np.testing.assert_allclose(layer.determinant_by_minors(x), expected / (n**d * factorial(d)), rtol=1e-12)


def test_both_forms_of_the_curvature_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """n < d^2 and n >= d^2 take different sums; blocks of a few units, too."""
    layer, x = shallow(40, 4, "tanh"), points(3, 4)
    expected = layer.scalar_curvature(x)
    repeated = Shallow(layer.weights[:10], layer.biases[:10], "tanh")
    few = repeated.scalar_curvature(x)
    # The same ten units, each four times with half its slope: the metric of ten units, by the other form.
    many = Shallow(layer.weights[:10].repeat(4, 1), layer.biases[:10].repeat(4), "tanh")
    np.testing.assert_allclose(many.scalar_curvature(x), few, rtol=1e-9)
    monkeypatch.setattr("rra_cli.pullback.shallow._BLOCK", 30)
    np.testing.assert_allclose(repeated.scalar_curvature(x), few, rtol=1e-12)
    np.testing.assert_allclose(layer.scalar_curvature(x), expected, rtol=1e-12)
    np.testing.assert_allclose(repeated.determinant_by_minors(x), torch.linalg.det(repeated.metric(x)), rtol=1e-9)


def test_fewer_units_than_inputs_have_no_volume_and_no_curvature() -> None:
    layer, x = shallow(3, 4, "gelu"), points(2, 4)
    assert (layer.log_volume(x) == -torch.inf).all()
    assert torch.isnan(layer.scalar_curvature(x)).all()
    assert (layer.determinant_by_minors(x) == 0).all()
    equal = Shallow(torch.ones(5, 2), torch.zeros(5), "tanh")
    assert torch.isnan(equal.scalar_curvature(points(2, 2))).all()
    assert (equal.log_volume(points(2, 2)) < -30).all()


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("activation", ["erf", "gelu"])
def test_wide_networks_approach_infinite_width_at_one_over_root_n(activation: Smooth, d: int) -> None:
    """Over draws the error falls by 4 where the width grows by 16, and is that of the law of large numbers."""
    wide, x = Wide(activation, 1.5, 0.4), points(2, d)
    generator = torch.Generator().manual_seed(3)
    volumes, curvatures = [], []
    for n in (1600, 25_600):
        errors = []
        for _ in range(24):
            weights = sqrt(1.5) * torch.randn(n, d, dtype=torch.float64, generator=generator)
            layer = Shallow(weights, sqrt(0.4) * torch.randn(n, dtype=torch.float64, generator=generator), activation)
            volume = layer.log_volume(x) - wide.log_volume(x)
            errors.append(
                [
                    float(volume.square().mean()),
                    float((layer.scalar_curvature(x) - wide.scalar_curvature(x)).square().mean()),
                ]
            )
        volume_error, curvature_error = np.sqrt(np.mean(errors, axis=0))
        volumes.append(volume_error)
        curvatures.append(curvature_error)
    assert 2.4 < volumes[0] / volumes[1] < 6.5
    assert 2.4 < curvatures[0] / curvatures[1] < 6.5
    assert volumes[1] < 0.05


@pytest.mark.parametrize("activation", SMOOTH)
def test_the_moments_are_those_of_adaptive_quadrature(activation: Smooth) -> None:
    """E[phi'^2] over a normal z by scipy; its derivatives by the variance: E[(phi'^2)''] / 2, E[(phi'^2)''''] / 4."""
    z = torch.zeros(1, dtype=torch.float64)
    for variance in (0.0, 0.3, 4.0, 90.0):
        q = torch.tensor([variance], dtype=torch.float64)
        found = [float(value) for value in slope_moments(activation, q)]
        again = [float(value) for value in slope_moments_by_quadrature(activation, q)]
        np.testing.assert_allclose(again, found, rtol=1e-10, atol=1e-13)
        for order, ours in zip((0, 2, 4), found, strict=True):

            def integrand(y: float, order: int = order, variance: float = variance) -> float:
                p = [float(value) for value in derivatives(activation, z + y, 5)]
                value = {
                    0: p[1] ** 2,
                    2: p[2] ** 2 + p[1] * p[3],
                    4: (3 * p[3] ** 2 + 4 * p[2] * p[4] + p[1] * p[5]) / 2,
                }[order]
                return value * np.exp(-y * y / (2 * variance)) / sqrt(2 * np.pi * variance) if variance else value

            reach = 12 * sqrt(variance)
            expected = (
                quad(integrand, -reach, reach, limit=400, epsabs=1e-12, epsrel=1e-11, points=[0.0])[0]
                if variance
                else integrand(0.0)
            )
            assert ours == pytest.approx(expected, rel=1e-8, abs=1e-11)


@pytest.mark.parametrize("activation", SMOOTH)
def test_infinite_width_is_consistent_with_autograd(activation: Smooth) -> None:
    """Omega' and Omega'' are derivatives of Omega; det g of the closed form is that of the matrix g."""
    wide = Wide(activation, 1.3, 0.2)
    s = torch.tensor([0.0, 0.5, 2.0, 9.0], dtype=torch.float64)
    h = 1e-4
    omega, first, second = wide.omega(s)
    ends = [wide.omega(s + k * h)[0] for k in (-2, -1, 1, 2)]
    np.testing.assert_allclose(first, (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * h), rtol=1e-8, atol=1e-9)
    slopes = [wide.omega(s + k * h)[1] for k in (-2, -1, 1, 2)]
    np.testing.assert_allclose(
        second, (slopes[0] - 8 * slopes[1] + 8 * slopes[2] - slopes[3]) / (12 * h), rtol=1e-7, atol=1e-8
    )
    assert torch.isfinite(omega).all()
    for d in (1, 2, 4):
        x = points(5, d)
        np.testing.assert_allclose(wide.log_volume(x), torch.logdet(wide.metric(x)) / 2, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("d", [2, 3, 4])
def test_the_curvature_of_infinite_width_is_that_of_its_metric(d: int) -> None:
    """erf, whose e^Omega is 2 sigma^2 / (pi sqrt(1 + 2 q)): Christoffel symbols by autograd of that formula."""
    wide, x = Wide("erf", 1.3, 0.2), points(4, d)

    def metric(x: torch.Tensor) -> torch.Tensor:
        q = 1 + 2 * (1.3 * x.square().sum() + 0.2)
        return 2 * 1.3 / (np.pi * q.sqrt()) * (torch.eye(d, dtype=x.dtype) - 2 * 1.3 / q * torch.outer(x, x))

    found = wide.scalar_curvature(x)
    for point, ours, g in zip(x, found, wide.metric(x), strict=True):
        np.testing.assert_allclose(g, metric(point), rtol=1e-12)
        assert float(ours) == pytest.approx(ricci_scalar(metric, point), rel=1e-10)
    assert float(wide.scalar_curvature(torch.zeros(1, d))) == 0
    assert float(Wide("erf").scalar_curvature(points(1, 1))) == 0, "a line has no curvature"


def ricci_scalar(metric: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> float:
    """By reverse mode alone."""

    def symbols(x: torch.Tensor) -> torch.Tensor:
        slope = torch.func.jacrev(metric)(x)
        return torch.einsum(
            "in,njk->ijk",
            torch.linalg.inv(metric(x)),
            (slope.permute(0, 2, 1) + slope - slope.permute(2, 0, 1)) / 2,
        )

    gamma, slope = symbols(x), torch.func.jacrev(symbols)(x)
    ricci = torch.einsum("abna->bn", slope) - torch.einsum("aanb->bn", slope)
    ricci += torch.einsum("aar,rbn->bn", gamma, gamma) - torch.einsum("abr,ran->bn", gamma, gamma)
    return float(torch.einsum("bn,bn->", torch.linalg.inv(metric(x)), ricci))


def test_faults_are_told() -> None:
    with pytest.raises(UserError, match="has 5e\\+07 minors, more than 2,000,000") as fault:
        shallow(10_000, 2, "erf").determinant_by_minors(points(1, 2))
    assert "log_volume" in str(fault.value.hint)
    assert MOST_MINORS == 2_000_000
    with pytest.raises(ValueError, match=r"weights \(4, 2\) and biases \(3,\) do not belong to a layer"):
        Shallow(torch.ones(4, 2), torch.ones(3), "erf")
    with pytest.raises(ValueError, match="activation is 'relu'; expected a smooth one: sigmoid, tanh, erf, gelu"):
        Shallow(torch.ones(4, 2), torch.ones(4), "relu")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="activation is 'relu'"):
        Wide("relu")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"points are \(3,\); expected \(m, 2\)"):
        shallow(4, 2, "erf").log_volume(torch.ones(3))
    for variances in ((0.0, 1.0), (1.0, -0.1), (float("nan"), 0.0)):
        with pytest.raises(ValueError, match="expected one above 0 for the weights"):
            Wide("erf", *variances)
