"""What interpolations (`${key}`) of a configuration would grow to, known before any of them is resolved.

Ten lines that each name the one before twice make a thousand copies of the first, forty lines a million millions: no
memory holds that, so the size is computed instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

LARGEST = 10**7  # characters and values, of a whole configuration
_INNERMOST = re.compile(r"\$\{([^${}]*)\}")
_COMPUTED = "\0"  # in place of an interpolation inside of another


def growth_faults(config: Mapping[str, Any]) -> list[str]:
    """Why a composed, unresolved configuration is refused; empty where it stays small."""
    try:
        size = _Sizes(config).of_path("")
    except _ComputedError as error:
        return [f"{error}: a key inside of ${{...}} must be written out, not put together from other values"]
    except RecursionError:
        return ["interpolations (${key}) are nested too deeply"]
    if size > LARGEST:
        return [f"interpolations (${{key}}) would make more than {LARGEST:,} characters of this configuration"]
    return []


class _ComputedError(Exception):
    """A key that is known only once others are resolved."""


class _Sizes:
    def __init__(self, config: Mapping[str, Any]) -> None:
        self._nodes = dict(_nodes(config, ""))
        self._known: dict[str, int] = {}

    def of_path(self, path: str) -> int:
        """Of what lies there; 0 for nothing, and for what is being computed: an interpolation of itself, an error."""
        if path not in self._nodes:
            return 0
        if path not in self._known:
            self._known[path] = 0
            self._known[path] = self._of(path, self._nodes[path])
        return self._known[path]

    def _of(self, path: str, value: Any) -> int:
        if isinstance(value, Mapping):
            return 1 + sum(len(str(key)) + self.of_path(_below(path, key)) for key in value)
        if isinstance(value, list | tuple):
            return 1 + sum(self.of_path(_below(path, position)) for position in range(len(value)))
        return self._of_text(path, value) if isinstance(value, str) else 1

    def _of_text(self, path: str, text: str) -> int:
        size = len(text)
        while match := _INNERMOST.search(text):
            named = _reference(match[1].strip())
            if named is not None:
                if _COMPUTED in named:
                    raise _ComputedError(path)
                size += self.of_path(_absolute(named, path))
            text = text[: match.start()] + _COMPUTED + text[match.end() :]
        return size


def _reference(expression: str) -> str | None:
    """The key that an interpolation reads; None where a resolver computes it from its arguments."""
    name, colon, arguments = expression.partition(":")
    if not colon:
        return expression
    # These read a key as well.
    reads = name.strip() in ("oc.select", "oc.dict.keys", "oc.dict.values")
    return arguments.partition(",")[0].strip() if reads else None


def _absolute(name: str, path: str) -> str:
    """A key as it is written, from the top: `.x` is a sibling, `..x` one of the parent's."""
    name = re.sub(r"(^|.)\[([^\]]*)\]", lambda match: f"{match[1]}.{match[2]}" if match[1] else match[2], name)
    dots = len(name) - len(name.lstrip("."))
    parts = path.split(".")[:-dots] if dots else []
    return ".".join([*parts, name.lstrip(".")]).strip(".")


def _nodes(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, value
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _nodes(item, _below(path, key))
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _nodes(item, _below(path, position))


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
