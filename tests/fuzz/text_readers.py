"""Readers of JSON, YAML, options and what is typed on a command line."""

from __future__ import annotations

from contextlib import suppress

from holding import holding

from rra_cli.cli.candidates import _defaults, _load
from rra_cli.cli.gc import parse_age
from rra_cli.config import catalog
from rra_cli.config.overrides import check
from rra_cli.config.safety import file_faults
from rra_cli.core.reading import read_json, read_yaml
from rra_cli.errors import UserError

OPTIONS = catalog.options()


def json_text(content: bytes) -> None:
    with holding("x.json", content) as folder, suppress(ValueError):
        read_json(folder / "x.json")


def yaml_text(content: bytes) -> None:
    with holding("x.yaml", content) as folder, suppress(ValueError):
        read_yaml(folder / "x.yaml")


def a_users_yaml(content: bytes) -> None:
    with holding("experiment/x.yaml", content) as folder:
        assert all(isinstance(fault, str) for fault in file_faults(folder / "experiment" / "x.yaml", folder))


def an_override(content: bytes) -> None:
    check([content.decode("utf-8", "replace")], OPTIONS, sweep=True)


def a_users_option(content: bytes) -> None:
    """As it is read to complete a word on the command line."""
    with holding("x.yaml", content) as folder:
        assert isinstance(_load(folder / "x.yaml"), dict)
        list(_defaults(folder / "x.yaml"))


def an_age(content: bytes) -> None:
    with suppress(UserError):
        assert parse_age(content.decode("utf-8", "replace")) >= 0
