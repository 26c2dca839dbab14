"""The settings of a sample study: what they come to, and what is refused with a hint."""

from __future__ import annotations

import pytest

from rra_cli.config.compose import load
from rra_cli.config.samples import SampleStudyConfig
from rra_cli.errors import ConfigError
from rra_cli.metrics.sample_grid import GRIDS


def test_whole_numbers_and_fractions_stay_what_they_are() -> None:
    found = load(["samples.sizes=[100]", "samples.k_grid=[2,0.1,1.0]", "samples.fixed_ndr=[1]"]).samples
    assert [(type(step), step) for step in found.steps] == [(int, 2), (float, 0.1), (float, 1.0), (float, 1.0)]


def test_a_number_and_a_density_of_one_value_are_two_steps() -> None:
    assert SampleStudyConfig((100,), (1, 1.0)).steps == (1, 1.0)


def test_a_grid_is_chosen_by_name() -> None:
    found = SampleStudyConfig((100,), "thesis_imagenet50", fixed_k=(7,)).steps
    assert found == (*GRIDS["thesis_imagenet50"], 7)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("samples.sizes=[2]", "sizes holds 2; at least 3 samples"),
        ("samples.sizes=[50,50]", "names a number of samples twice"),
        ("samples.k_grid=[2,2]", "k_grid names one twice: [2, 2]"),
        ("samples.k_grid=[2,0.1,0.1]", "k_grid names one twice: [2, 0.1, 0.1]"),
        ("samples.fixed_k=[5,7,5]", "fixed_k names one twice: [5, 7, 5]"),
        ("samples.fixed_ndr=[1,1.0]", "fixed_ndr names one twice: [1.0, 1.0]"),
        ("samples.k_grid=foo", "expected one of thesis_cifar10, thesis_imagenet50 or a list"),
        ("samples.k_grid=[1.5]", "1.5 is no density"),
        ("samples.k_grid=[0]", "0 is no number of neighbours"),
        ("samples.fixed_ndr=[0.0]", "0.0 is no density"),
        ("samples.size=[100]", "did you mean 'sizes'"),
    ],
)
def test_what_makes_no_sense_is_refused(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match="samples") as refused:
        load([override])
    assert told in "\n".join(refused.value.faults)


def test_a_study_without_neighbours_is_refused() -> None:
    with pytest.raises(ConfigError, match="k_grid is empty"):
        load(["samples.sizes=[100]", "samples.k_grid=[]"])


@pytest.mark.parametrize("name", ["rra_samples_cifar10", "rra_samples_cifar10_small"])
def test_the_experiments_measure_every_size_that_they_name(name: str) -> None:
    experiment = load([f"+experiment={name}"])
    assert max(experiment.samples.sizes) == experiment.dataset.requested_samples("train")
