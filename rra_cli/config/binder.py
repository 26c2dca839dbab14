"""Components and settings from plain values, strictly typed, with a line for everything that is wrong with them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from rra_cli.config import catalog
from rra_cli.config.alterations import as_augmentation, option_settings
from rra_cli.config.describe import fault_lines
from rra_cli.core.component import GROUPS, component
from rra_cli.core.fields import Kind, kind_of
from rra_cli.errors import UserError, did_you_mean

T = TypeVar("T")

COMPONENTS = tuple(group for group in GROUPS if group != "metrics")


class Binder:
    """Binds part after part and collects the faults of all of them; what has one is bound to None or left out."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def component(self, path: str, group: str, values: Any) -> Any:
        """A component found by the `name` in its values."""
        if values is None:
            self.faults.append(f"{path}: nothing is chosen; `rra ls {group}` lists what there is")
            return None
        if not isinstance(values, Mapping):
            self.faults.append(f"{path}: expected a mapping with a name, got {values!r}")
            return None
        name = values.get("name")
        if not isinstance(name, str):
            self.faults.append(f"{path}.name: expected the name of a {group}, got {name!r}")
            return None
        try:
            cls = component(group, name)
        except UserError as error:
            self.faults.append(f"{path}.name: {error.message}{as_augmentation(group, name)}")
            return None
        # Fields that are components themselves, by name of an option or with their settings.
        parts = {field: kind for field, kind in getattr(cls, "parts", {}).items() if field in values}
        found = {field: self.part(f"{path}.{field}", kind, values[field]) for field, kind in parts.items()}
        bound = self.settings(path, cls, {key: value for key, value in values.items() if key not in ("name", *parts)})
        return bound if bound is None or None in found.values() else dataclasses.replace(bound, **found)

    def part(self, path: str, group: str, values: Any) -> Any:
        """A component within another one."""
        if not isinstance(values, str):
            return self.component(path, group, values)
        try:
            return self.component(path, group, option_settings(group, values))
        except ValueError as error:
            self.faults.append(f"{path}: {error}")
            return None

    def named(self, path: str, values: Any, one: str, several: str) -> Iterator[tuple[str, Any]]:
        """Settings by names of the user's choice. one, several: what is named."""
        if not isinstance(values, Mapping):
            self.faults.append(f"{path}: expected a mapping of names to {several}, got {values!r}")
            return
        for name, settings in values.items():
            if not str(name).isidentifier():
                self.faults.append(f"{path}.{name}: {one} is named by letters, digits and _")
            yield str(name), settings

    def names(self, path: str, values: Any) -> tuple[str, ...]:
        """A list of names or globs; nothing is an empty one."""
        given = [] if values is None else values
        if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
            self.faults.append(f"{path}: expected a list of names or globs, got {given!r}")
            return ()
        return tuple(given)

    def settings(self, path: str, cls: type[T], values: Any) -> T | None:
        """A dataclass from plain values, strictly typed."""
        from pydantic import TypeAdapter, ValidationError

        if not isinstance(values, Mapping):
            self.faults.append(f"{path}: expected a mapping, got {values!r}")
            return None
        names = [declared.name for declared in dataclasses.fields(cls)]  # type: ignore[arg-type]
        known = {key: value for key, value in values.items() if key in names}
        complete = self.unknown(path, values, names)
        missing = [key for key, value in known.items() if value == "???"]
        self.faults.extend(f"{path}.{key}: a value is needed, none was given" for key in missing)
        if missing:
            return None
        try:
            bound: T = TypeAdapter(cls).validate_json(json.dumps(_expanded(cls, known)), strict=True)
        except ValidationError as error:
            self.faults.extend(fault_lines(path, cls, known, error.errors(include_url=False)))
            return None
        return bound if complete else None

    def unknown(self, path: str, values: Mapping[str, Any], known: Any) -> bool:
        """Notes the keys that are not known; whether all were."""
        strange = [key for key in values if key not in known]
        self.faults.extend(unknown_key(path, str(key), known) for key in strange)
        return not strange


def unknown_key(path: str, key: str, known: Iterable[str]) -> str:
    """What to say of a key that nothing at `path` has: who has it instead, or which key is near."""
    entries = catalog.entries(path) if path in COMPONENTS else {}
    others = [name for name, entry in entries.items() if key in entry.fields]
    options = " and ".join(f"{path}={name}" for name in others)
    there = f"{options} {'has' if len(others) == 1 else 'have'} it" if others else did_you_mean(key, known)
    return f"{path}.{key}: unknown key; {there}" if path else f"{key}: unknown key; {there}"


def _expanded(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with `~` in locations replaced by the home folder (no shell does it behind `key=`)."""
    places = {declared.name for declared in dataclasses.fields(cls) if kind_of(declared) is Kind.LOCATION}
    return {
        key: os.path.expanduser(value) if key in places and isinstance(value, str) else value
        for key, value in values.items()
    }
