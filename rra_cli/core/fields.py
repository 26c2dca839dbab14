"""Every configuration field says what it does to a result; a contract test fails on a field that does not.

* `identity`: changes the result, so it is part of the key of what is stored;
* `selection`: identity as well, but it picks from a result rather than changing it (the k of an exact graph, the
  milestones of a training): whoever reads the picked part keys it, its producer does not;
* `execution`: how the work is done (device, workers, progress), never what comes out;
* `location`: where things lie (roots, paths).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import MISSING, field
from enum import Enum
from typing import Any


class Kind(Enum):
    IDENTITY = "identity"
    SELECTION = "selection"
    EXECUTION = "execution"
    LOCATION = "location"


def _declare(kind: Kind, default: Any, default_factory: Any, **more: Any) -> Any:
    if default_factory is not MISSING:
        return field(default_factory=default_factory, metadata={"kind": kind, **more})
    return field(default=default, metadata={"kind": kind, **more})


def identity(default: Any = MISSING, *, default_factory: Any = MISSING, before: Any = MISSING) -> Any:
    """A dataclass field that changes the result.

    before: of a field that was added later, the value that says what was done before there was one; it is left out of
    the identity, so that results of then keep their keys. A value and not the default, which may change.
    """
    more = {} if before is MISSING else {"before": before}
    return _declare(Kind.IDENTITY, default, default_factory, **more)


def selection(default: Any = MISSING, *, default_factory: Any = MISSING) -> Any:
    """A dataclass field that picks a part of a result, keyed by the reader of that part."""
    return _declare(Kind.SELECTION, default, default_factory)


def execution(default: Any = MISSING, *, default_factory: Any = MISSING) -> Any:
    """A dataclass field that changes how the work is done, never what comes out."""
    return _declare(Kind.EXECUTION, default, default_factory)


def location(default: Any = MISSING, *, default_factory: Any = MISSING) -> Any:
    """A dataclass field that says where something lies."""
    return _declare(Kind.LOCATION, default, default_factory)


def kind_of(declared: dataclasses.Field[Any]) -> Kind | None:
    """The declared kind of a dataclass field, None where it was left undeclared."""
    return declared.metadata.get("kind")


def identity_of(component: Any) -> dict[str, Any]:
    """The identity fields of a component as plain JSON values, defaults included, with the component's name.

    A version above 1 and the package of a plug-in's component are part of it. Selections, execution and location
    fields are left out, and so is a later field (`identity(before=...)`) at the value of before.
    """
    values: dict[str, Any] = {}
    cls = type(component)
    name, version, package = getattr(cls, "name", None), getattr(cls, "version", 1), cls.__module__.partition(".")[0]
    if isinstance(name, str):
        values["name"] = name
        if version != 1:
            values["version"] = version
        if package != __package__.partition(".")[0]:
            values["package"] = package
    for declared in dataclasses.fields(component):
        if kind_of(declared) is Kind.IDENTITY:
            value = getattr(component, declared.name)
            if "before" not in declared.metadata or value != declared.metadata["before"]:
                values[declared.name] = plain(value)
    return values


def plain(value: Any) -> Any:
    """The value as JSON holds it: tuples become lists, components their identity."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return identity_of(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be part of an identity")
