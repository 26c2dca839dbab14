"""How alterations are written in a configuration: several levels at once, and parts that are options of a group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rra_cli.config import catalog
from rra_cli.errors import did_you_mean


def by_level(name: str, settings: Any) -> dict[str, Any]:
    """One entry for every level where `level` is a list, called NAME_LEVEL; else the entry itself.

    Raises ValueError where the list is empty, or holds what is no number or a level twice.
    """
    levels = settings.get("level") if isinstance(settings, Mapping) else None
    if not isinstance(levels, list | tuple):
        return {name: settings}
    if not levels:
        raise ValueError("level is an empty list; give at least one")
    found: dict[str, Any] = {}
    for level in levels:
        if isinstance(level, bool) or not isinstance(level, int | float):
            raise ValueError(f"level holds {level!r}; expected numbers")
        entry = f"{name}_{level:g}"
        if entry in found:
            raise ValueError(f"level holds {level:g} twice")
        found[entry] = {**settings, "level": level}
    return found


def option_settings(group: str, name: str) -> Mapping[str, Any]:
    """What the option's file says, ours or a plug-in's. Raises ValueError where there is no such option."""
    import yaml

    known = catalog.options()[group]
    if name not in known:
        raise ValueError(f"there is no {group} option {name!r}; {did_you_mean(name, known)}")
    said: Mapping[str, Any] = yaml.safe_load(known[name].path.read_text(encoding="utf-8"))
    return said


def as_augmentation(group: str, name: str) -> str:
    """How an augmentation is written where an alteration is expected; "" where the name is none."""
    if group != "alter" or name not in catalog.options().get("augment", {}):
        return ""
    return f"; it is an augmentation: write {{name: augment, augment: {name}}}"
