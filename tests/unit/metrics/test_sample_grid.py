"""Grids of numbers of neighbours: those of the thesis, densities, and where every other sample is a neighbour."""

from __future__ import annotations

import pytest

from rra_cli.metrics.sample_grid import GRIDS, Setting, check_step, neighbors_at, settings_at


@pytest.mark.parametrize(
    ("grid", "n", "ks"),
    [  # RRA thesis, ch. 5: N / 10^(x/3), x = 6 .. 0; the last is N - 1 here
        ("thesis_cifar10", 1_000, [10, 22, 46, 100, 215, 464, 999]),
        ("thesis_cifar10", 10_000, [100, 215, 464, 1_000, 2_154, 4_642, 9_999]),
        ("thesis_cifar10", 15_000, [150, 323, 696, 1_500, 3_232, 6_962, 14_999]),
        # N / 50^(x/2), x = 3 .. 0, and k = 2
        ("thesis_imagenet50", 30_000, [2, 85, 600, 4_243, 29_999]),
        ("thesis_imagenet50", 1_000, [2, 3, 20, 141, 999]),
    ],
)
def test_the_grids_of_the_thesis(grid: str, n: int, ks: list[int]) -> None:
    assert [cell.k for cell in settings_at(GRIDS[grid], n)] == ks


def test_densities_of_the_thesis_are_those_of_its_grid() -> None:
    """NDR = {.01, .03, .1, .3, 1} in its text are the steps x = 6, .. of the grid, two of them rounded."""
    densities = [step for step in GRIDS["thesis_cifar10"] if isinstance(step, float)]
    assert [round(step, 2) for step in densities] == [1.0, 0.46, 0.22, 0.1, 0.05, 0.02, 0.01]
    assert 0.01 in densities
    assert 0.1 in densities


def test_a_whole_number_is_a_k_and_a_fraction_a_density() -> None:
    assert neighbors_at(1, 500) == 1
    assert neighbors_at(1.0, 500) == 499
    cells = settings_at([1, 1.0], 500)
    assert [(cell.k, cell.by_definition) for cell in cells] == [(1, False), (499, True)]


def test_the_end_of_a_grid_is_every_other_sample_and_by_definition() -> None:
    assert Setting(100, 99, 1.0).by_definition
    assert not Setting(100, 98, 98).by_definition
    assert neighbors_at(100, 100) == 99, "k = N of a user's list is the same end"
    assert neighbors_at(101, 100) is None, "there are not so many samples"


def test_a_density_gives_at_least_one_neighbour() -> None:
    assert neighbors_at(0.001, 100) == 1


def test_the_density_of_a_cell_is_the_one_it_has_after_rounding() -> None:
    assert Setting(1_000, 464, 10 ** (-1 / 3)).density == 0.464


def test_steps_that_rounding_makes_equal_are_kept_apart() -> None:
    """Sizes are compared by the step, which must be found at every one of them."""
    cells = settings_at([0.01, 0.02], 50)
    assert [(cell.k, cell.step) for cell in cells] == [(1, 0.01), (1, 0.02)]


@pytest.mark.parametrize(("step", "told"), [(0.0, "density"), (1.5, "density"), (-0.1, "density"), (0, "at least 1")])
def test_what_is_no_step_is_refused(step: float, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check_step(step)
