"""Alterations in a configuration: names of augmentations, several levels at once, and what is wrong with them."""

from __future__ import annotations

import pytest

from rra_cli.config.alterations import by_level
from rra_cli.config.bind import bind
from rra_cli.config.compose import load
from rra_cli.data.alterations.alteration import NoAlteration
from rra_cli.data.alterations.augmented import Augmented
from rra_cli.data.alterations.noise import Noise
from rra_cli.data.augment_views import RandomViews
from rra_cli.errors import ConfigError


def test_an_augmentation_is_named_or_written_out() -> None:
    named = load(["alter=augment", "alter.augment=flip"]).alter
    assert named == Augmented(augment=RandomViews(flip=0.5))
    written = load(["alter=augment", "alter.augment={name: views, flip: 0.5}"]).alter
    assert written == named
    assert load(["alter=augment", "alter.augment=rra"]).alter.augment == load(["augment=rra"]).augment  # type: ignore[attr-defined]


def test_a_list_of_levels_makes_one_of_each() -> None:
    found = load(["invariance.some={name: noise, level: [0, 0.1, 0.25], seed: 3}", "invariance.one={name: noise}"])
    assert dict(found.invariance) == {
        "some_0": Noise(level=0.0, seed=3),
        "some_0.1": Noise(level=0.1, seed=3),
        "some_0.25": Noise(level=0.25, seed=3),
        "one": Noise(),
    }
    with pytest.raises(TypeError):
        found.invariance["more"] = Noise()  # type: ignore[index]


def test_a_configuration_of_before_alters_nothing() -> None:
    """A run folder of an earlier version names no `alter`."""
    plain = {
        "seed": 0,
        **{group: {"name": name} for group, name in (("dataset", "digits"), ("model", "mlp"), ("augment", "none"))},
        **{group: {"name": name} for group, name in (("method", "none"), ("optimizer", "sgd"), ("neighbors", "exact"))},
        "pooling": {"none": {}},
        "metrics": {"nncs": {"name": "nncs"}},
    }
    bound = bind(plain)
    assert bound.alter == NoAlteration()
    assert not bound.invariance


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("alter.augment=flp", "alter.augment: there is no augment option 'flp'; .*flip"),
        ("alter.augment={name: views, flip: 3}", "alter.augment.flip must be a probability"),
        ("alter.augment={name: views, flop: 1}", "alter.augment.flop: unknown key; did you mean 'flip'"),
        ("alter.augment=null", "alter.augment: nothing is chosen"),
        ("invariance.a={name: noise, level: []}", "invariance.a.level is an empty list"),
        ("invariance.a={name: noise, level: [0.1, 0.1]}", "invariance.a.level holds 0.1 twice"),
        ("invariance.a={name: noise, level: [x]}", "invariance.a.level holds 'x'; expected numbers"),
        ("invariance.a={name: noise, level: [0.1, -2]}", "invariance.a.level is -2; expected a standard deviation"),
        (
            "invariance.a={name: rotation}",
            "there is no alter named 'rotation'.*it is an augmentation: write .name: augment, augment: rotation",
        ),
        ("invariance.a={name: nois}", "invariance.a.name: there is no alter named 'nois'(?!.*an augmentation)"),
        ("invariance.a-b={name: noise}", "invariance.a-b: an alteration is named by letters, digits and _"),
        ("invariance=3", "invariance: expected a mapping of names to alterations, got 3"),
    ],
)
def test_a_fault_says_what_was_expected(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(["alter=augment", override])


def test_two_entries_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"invariance\.a_1: there are two alterations called a_1"):
        load(["invariance.a={name: noise, level: [1, 2]}", "invariance.a_1={name: noise}"])


def test_one_level_stays_what_it_is() -> None:
    assert by_level("a", {"name": "noise", "level": 0.5}) == {"a": {"name": "noise", "level": 0.5}}
    assert by_level("a", None) == {"a": None}
