"""Components (models, data sets, methods, metrics ...) are frozen dataclasses found by name.

A component is a subclass of its group's base class with a class variable `name`; its fields are its parameters, its
docstring's first line is what `rra ls` shows. Ours live in `rra_cli`; an installed package adds its own by the
entry-point group `rra_cli.plugins`, whose value is a module that defines them (and, optionally, a sub-package `conf`
with their YAML files).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar

from rra_cli.errors import UserError, did_you_mean

PLUGIN_GROUP = "rra_cli.plugins"

# group -> (package that is searched, module of the base class, base class)
GROUPS = {
    "model": ("rra_cli.models", "rra_cli.models.model", "Model"),
    "dataset": ("rra_cli.data", "rra_cli.data.dataset", "Dataset"),
    "augment": ("rra_cli.data", "rra_cli.data.augment", "Augment"),
    "alter": ("rra_cli.data.alterations", "rra_cli.data.alterations.alteration", "Alteration"),
    "method": ("rra_cli.methods", "rra_cli.methods.method", "Method"),
    "optimizer": ("rra_cli.training", "rra_cli.training.optimizer", "Optimizer"),
    "neighbors": ("rra_cli.neighbors", "rra_cli.neighbors.engine", "Engine"),
    "metrics": ("rra_cli.metrics", "rra_cli.metrics.metric", "Metric"),
}


class Component:
    """Base of all components; a concrete one is a frozen dataclass that sets `name`.

    version: raised by its author when the same fields give another result, so that older results are not used.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1


@cache
def components(group: str) -> dict[str, type[Any]]:
    """All components of a group by name, ours and those of installed plug-ins."""
    package_name, base_module, base_name = GROUPS[group]
    package = importlib.import_module(package_name)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package_name}.{module.name}")
    for plugin in plugins():
        _load(plugin)
    # Only what is registered: a subclass that somebody defined in a notebook or a test is not a component.
    registered = {package_name.partition(".")[0], *(plugin.value.partition(".")[0] for plugin in plugins())}
    base = getattr(importlib.import_module(base_module), base_name)
    found: dict[str, type[Any]] = {}
    for cls in _concrete_subclasses(base):
        if cls.__module__.partition(".")[0] not in registered:
            continue
        if cls.name in found and found[cls.name] is not cls:
            raise UserError(
                f"two components of group {group!r} are called {cls.name!r}: "
                f"{found[cls.name].__module__} and {cls.__module__}",
                "uninstall one of the two packages, or rename its component",
            )
        found[cls.name] = cls
    return found


def component(group: str, name: str) -> type[Any]:
    """The component class of that name; a `UserError` naming near matches where there is none."""
    known = components(group)
    if name not in known:
        raise UserError(
            f"there is no {group} named {name!r}: {did_you_mean(name, known)}", f"`rra ls {group}` lists them"
        )
    return known[name]


def plugins() -> list[Any]:
    """The installed plug-ins' entry points, in name order."""
    return sorted(entry_points(group=PLUGIN_GROUP), key=lambda plugin: plugin.name)


def _load(plugin: Any) -> None:
    try:
        importlib.import_module(plugin.value)
    except Exception as error:
        raise UserError(
            f"the plug-in {plugin.name} ({plugin.value}) does not load: {type(error).__name__}: {error}",
            "mend or uninstall that package",
        ) from error


def _concrete_subclasses(base: type[Any]) -> list[type[Any]]:
    found: list[type[Any]] = []
    for cls in base.__subclasses__():
        if "name" in vars(cls) and not inspect.isabstract(cls):
            found.append(cls)
        found.extend(_concrete_subclasses(cls))
    return found
