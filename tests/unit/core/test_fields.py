"""What a component's identity is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from rra_cli.core.component import Component
from rra_cli.core.fields import Kind, execution, identity, identity_of, kind_of, location, plain, selection


@dataclass(frozen=True)
class Inner(Component):
    name: ClassVar[str] = "inner"
    rate: float = identity(0.1)
    workers: int = execution(4)


@dataclass(frozen=True)
class Outer:
    required: int = identity()
    inner: Inner = identity(default_factory=Inner)
    sizes: tuple[int, ...] = identity((1, 2))
    options: dict[str, Any] = identity(default_factory=dict)
    k: int = selection(3)
    root: str = location("/data")


def test_identity_holds_identity_fields_with_defaults_and_names() -> None:
    assert identity_of(Outer(required=1)) == {
        "inner": {"name": "inner", "package": __name__, "rate": 0.1}, "sizes": [1, 2], "options": {}, "required": 1
    }  # fmt: skip


def test_only_identity_fields_change_the_identity() -> None:
    one = identity_of(Outer(required=1))
    assert identity_of(Outer(inner=Inner(workers=8), k=9, root="/other", required=1)) == one
    for other in (Outer(inner=Inner(0.2), required=1), Outer(required=2), Outer(sizes=(2, 1), required=1)):
        assert identity_of(other) != one


def test_a_later_field_at_the_value_of_before_leaves_the_identity_as_it_was() -> None:
    """The control: any other value is part of it, also the default where that is another one."""

    @dataclass(frozen=True)
    class Grown(Inner):
        graph: str = identity("mutual", before="directed")

    plain_one = {"name": "inner", "package": __name__, "rate": 0.1}
    assert identity_of(Grown(graph="directed")) == plain_one
    assert identity_of(Grown()) == {**plain_one, "graph": "mutual"}


def test_a_new_version_and_another_package_are_another_identity() -> None:
    ours = type("Inner", (Inner,), {"__module__": "rra_cli.models.inner"})
    assert identity_of(ours()) == {"name": "inner", "rate": 0.1}
    assert identity_of(type("Inner", (ours,), {"__module__": "rra_cli.models.inner", "version": 2})())["version"] == 2
    assert identity_of(type("Inner", (ours,), {"__module__": "theirs.inner"})())["package"] == "theirs"


def test_every_field_knows_its_kind() -> None:
    kinds = {field.name: kind_of(field) for field in dataclasses.fields(Outer)}
    assert kinds == {
        "inner": Kind.IDENTITY, "sizes": Kind.IDENTITY, "options": Kind.IDENTITY, "k": Kind.SELECTION,
        "root": Kind.LOCATION, "required": Kind.IDENTITY,
    }  # fmt: skip

    @dataclass
    class Undeclared:
        x: int = 1

    assert kind_of(dataclasses.fields(Undeclared)[0]) is None


def test_a_field_without_default_stays_required() -> None:
    with pytest.raises(TypeError, match="required"):
        Outer()  # type: ignore[call-arg]


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be part of an identity"):
        plain({"x": {1, 2}})
    with pytest.raises(TypeError, match="cannot be part of an identity"):
        plain(Inner)
