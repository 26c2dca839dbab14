"""What a type means in a person's words, and what is wrong with a value in one line."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from rra_cli.errors import did_you_mean

_WORDS: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    str: "a string",
    bool: "true or false",
    type(None): "null",
}


def describe(hint: Any) -> str:
    """A type as a person says it: "an integer or null", "one of sgd, adam", "a list of integers"."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        values = [str(value) for value in arguments]
        return f"one of {', '.join(values)}" if len(values) > 1 else f"{values[0]}"
    if origin in (Union, types.UnionType):
        parts = [describe(argument) for argument in arguments]
        return f"{', '.join(parts[:-1])} or {parts[-1]}"
    if origin in (list, tuple, Sequence):
        items = [argument for argument in arguments if argument is not Ellipsis]
        if origin is tuple and Ellipsis not in arguments:
            return f"a list of {len(items)} values ({', '.join(describe(item) for item in items)})"
        return f"a list (each {describe(items[0])})" if items else "a list"
    if origin in (dict, Mapping):
        return f"a mapping ({describe(arguments[0])}: {describe(arguments[1])})"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def fault_lines(path: str, cls: type[Any], values: Mapping[str, Any], errors: Sequence[Any]) -> list[str]:
    """One line per faulty field, from pydantic's errors about a dataclass: where, what was expected, what was got.

    A union gives an error per alternative; only the field's own type is told.
    """
    hints = get_type_hints(cls)
    lines: dict[str, str] = {}
    for error in errors:
        if not error["loc"]:
            message = str(error["ctx"]["error"]) if "error" in error.get("ctx", {}) else error["msg"]
            # "epochs is 0; ..." of method becomes "method.epochs is 0; ...".
            named = message.partition(" ")[0] in hints
            lines.setdefault("", f"{path}.{message}" if named else f"{path}: {message}")
            continue
        name = str(error["loc"][0])
        if error["type"] == "missing":
            lines.setdefault(name, f"{path}.{name}: a value is needed, none was given")
        elif name in hints and name in values:
            lines.setdefault(name, f"{path}.{name}: {_expected(hints[name], values[name])}")
        else:
            lines.setdefault(name, f"{path}.{name}: {error['msg']}")
    return list(lines.values())


def _expected(hint: Any, value: Any) -> str:
    line = f"expected {describe(hint)}, got {shown(value)}"
    choices = _choices(hint)
    if choices and isinstance(value, str):
        near = did_you_mean(value, choices)
        if near.startswith("did"):
            return f"{line}; {near}"
    return line


def _choices(hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    return [choice for argument in get_args(hint) for choice in _choices(argument)]


def shown(value: Any) -> str:
    """A value as it is written in YAML, text in quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else repr(value)
