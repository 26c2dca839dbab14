"""Components are found by name, and a wrong name is told the near ones."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rra_cli.core import component as registry
from rra_cli.errors import UserError

BASE = """
from abc import ABC, abstractmethod
from rra_cli.core.component import Component

class Shape(Component, ABC):
    "All shapes."
    @abstractmethod
    def area(self): ...
"""
ROUND = """
from shapes_for_a_test.base import Shape

class Circle(Shape):
    "A circle."
    name = "circle"
    def area(self): return 3

class Half(Circle):
    "Has no name of its own, so it is no component."

class Abstract(Shape):
    name = "abstract"
"""
CLASH = """
from shapes_for_a_test.base import Shape

class Other(Shape):
    name = "circle"
    def area(self): return 4
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "shapes_for_a_test"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "base.py").write_text(BASE)
    (folder / "round.py").write_text(ROUND)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "plugins", list)
    monkeypatch.setitem(registry.GROUPS, "shape", ("shapes_for_a_test", "shapes_for_a_test.base", "Shape"))
    registry.components.cache_clear()
    yield folder
    registry.components.cache_clear()
    for name in [name for name in sys.modules if name.startswith("shapes_for_a_test")]:
        del sys.modules[name]


def test_named_concrete_classes_are_found(package: Path) -> None:
    assert list(registry.components("shape")) == ["circle"]
    assert registry.component("shape", "circle").__name__ == "Circle"


def test_a_class_that_no_package_registered_is_no_component(package: Path) -> None:
    registry.components("shape")
    base = sys.modules["shapes_for_a_test.base"].Shape
    type("Mine", (base,), {"name": "mine", "area": lambda self: 5, "__module__": "__main__"})
    registry.components.cache_clear()
    assert list(registry.components("shape")) == ["circle"]


def test_an_unknown_name_is_told_the_near_ones(package: Path) -> None:
    with pytest.raises(UserError, match="there is no shape named 'circel': did you mean 'circle'") as caught:
        registry.component("shape", "circel")
    assert caught.value.hint == "`rra ls shape` lists them"
    with pytest.raises(UserError, match="known: circle"):
        registry.component("shape", "zzz")


def test_two_components_of_one_name_are_refused(package: Path) -> None:
    (package / "clash.py").write_text(CLASH)
    with pytest.raises(UserError, match="two components of group 'shape' are called 'circle'") as caught:
        registry.components("shape")
    assert "uninstall" in str(caught.value.hint)
