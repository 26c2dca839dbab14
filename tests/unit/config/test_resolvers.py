"""What YAML files compute."""

from __future__ import annotations

from omegaconf import OmegaConf

from rra_cli.config.resolvers import per


def test_a_name_has_its_own_value_or_the_common_one() -> None:
    assert per("a", {"a": 1}, 2) == 1
    assert per("b", {"a": 1}, 2) == 2


def test_it_reads_the_name_from_the_configuration() -> None:
    """Also where the special value is 0, which is a value."""
    config = OmegaConf.create({"name": "a", "x": "${rra.per:${name},{a: 0},800}"})
    assert config.x == 0
    config.name = "b"
    assert config.x == 800
