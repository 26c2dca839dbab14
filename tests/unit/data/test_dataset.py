"""The bounds of a data set's fields, known before anything is read."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from rra_cli.core.component import components
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.cifar10 import Cifar10
from rra_cli.data.dataset import Samples
from rra_cli.data.digits import Digits
from rra_cli.data.mnist import Mnist

CONF = Path(__file__).parents[3] / "conf" / "dataset"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_samples": 15_000}, "n_samples is 15,000, but the test split of cifar10 has only 10,000 samples"),
        ({"n_samples": {"train": 60_000}}, "the train split of cifar10 has only 50,000 samples"),
        ({"train_size": 500, "n_samples": {"train": 501}}, r"has only 500 samples \(train_size\)"),
        ({"train_size": 50_001}, "train_size is 50,001; it must be from 3 to 50,000"),
        ({"train_size": 2}, "train_size is 2; it must be from 3"),
        ({"n_samples": 2}, "n_samples is 2; at least 3"),
        ({"subset_seed": -1}, "subset_seed is -1"),
        ({"subset_seed": 2**32}, "subset_seed is 4294967296"),
        ({"splits": ()}, "splits must name"),
        ({"splits": ("test", "test")}, "each once"),
    ],
)
def test_impossible_numbers_are_refused_before_reading(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cifar10(**fields)


def test_possible_numbers_are_not_refused() -> None:
    assert Cifar10(n_samples=15_000, splits=("train",)).requested_samples("train") == 15_000
    mapping = Cifar10(n_samples={"train": 15_000, "test": 10_000})
    assert (mapping.requested_samples("train"), mapping.requested_samples("test")) == (15_000, 10_000)
    assert Cifar10(n_samples={"train": 5}).requested_samples("test") is None
    assert Cifar10(train_size=500).available_samples("train") == 500
    assert Cifar10(train_size=500).available_samples("test") == 10_000


def test_a_folder_of_activations_is_one_split() -> None:
    assert ActivationFiles().splits == ("test",)
    with pytest.raises(ValueError, match="one split"):
        ActivationFiles(splits=("train", "test"))


def test_data_sets_are_found_by_name() -> None:
    assert {"digits": Digits, "mnist": Mnist, "cifar10": Cifar10, "activations": ActivationFiles}.items() <= components(
        "dataset"
    ).items()


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_yaml_lists_every_field_with_its_default(path: Path) -> None:
    """One called otherwise than its component (a smaller form of it) lists every field, but may set what it likes."""
    values = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(values, dict)
    name = values.pop("name")
    cls = components("dataset")[name]
    values["splits"] = tuple(values["splits"])
    assert (cls(**values) == cls()) == (name == path.stem)
    assert set(values) == {field.name for field in dataclasses.fields(cls)}


def test_samples_that_do_not_fit_each_other_cannot_exist() -> None:
    images, labels, ids = np.zeros((2, 1, 8, 8), np.uint8), np.zeros(2, np.int64), np.arange(2)
    assert len(Samples(images, labels, ids)) == 2
    with pytest.raises(ValueError, match="2 images, 1 labels"):
        Samples(images, labels[:1], ids)
    with pytest.raises(ValueError, match="uint8"):
        Samples(images.astype(np.float64), labels, ids)
