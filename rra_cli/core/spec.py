"""What a stored result is a result of: its identity and the key that follows from it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rra_cli.core.fields import plain

_STAGE = re.compile(r"[a-z][a-z0-9_]{0,40}")
_ENTRY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_=+.-]{0,99}")
_UPSTREAM = re.compile(r"[0-9a-f]{64}(/[A-Za-z0-9_=+.-]+)?")


@dataclass(frozen=True, eq=False)
class Spec:
    """The full description of one stored result.

    stage: what made it (lower case). version: of the stage, raised when its results change. identity: every field that
    changes the result, defaults included, as plain JSON values. upstream: keys of what it was made from, in order,
    each `<key>` or `<key>/<entry>`. Two specs are equal if their canonical JSON is. Raises ValueError or TypeError
    where something has no canonical JSON (NaN, infinity, other types).
    """

    stage: str
    version: int
    identity: Mapping[str, Any]
    upstream: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _STAGE.fullmatch(self.stage):
            raise ValueError(f"a stage is named in lower case letters, digits and _, got {self.stage!r}")
        if isinstance(self.version, bool) or not isinstance(self.version, int) or self.version < 1:
            raise ValueError(f"the version of stage {self.stage} must be a whole number from 1, got {self.version!r}")
        for key in self.upstream:
            if not _UPSTREAM.fullmatch(key):
                raise ValueError(f"an upstream key is 64 hex digits (and /entry), got {key!r}")
        # Own copies: whoever changes the dictionary later must not change the key.
        object.__setattr__(self, "identity", json.loads(canonical_json(self.identity)))
        object.__setattr__(self, "upstream", tuple(self.upstream))

    @cached_property
    def canonical(self) -> str:
        """The canonical JSON that is hashed and compared."""
        return canonical_json(self.as_json())

    @cached_property
    def key(self) -> str:
        """sha256 of the canonical JSON, 64 hex digits."""
        return hashlib.sha256(self.canonical.encode("ascii")).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """The spec as plain JSON values."""
        return {
            "stage": self.stage,
            "version": self.version,
            "identity": dict(self.identity),
            "upstream": list(self.upstream),
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and self.canonical == other.canonical

    def __hash__(self) -> int:
        return hash(self.canonical)


def canonical_json(value: Any) -> str:
    """One text per value: keys sorted, no spaces, ASCII. Whole numbers, fractions and booleans stay distinct.

    Raises ValueError for NaN and infinity, TypeError for what JSON does not know.
    """
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def check_entry(entry: str) -> str:
    """The entry's name; ValueError where it could not be a folder below the artifact's own."""
    if not _ENTRY.fullmatch(entry) or entry.endswith(".work") or entry == "meta.json":
        raise ValueError(f"an entry is named in letters, digits and _=+-. (not first), got {entry!r}")
    return entry


def differences(stored: Any, asked: Any, path: str = "") -> Iterator[str]:
    """Where two JSON values differ, one line each: `identity.lr: stored 0.1, asked for 0.2`."""
    if isinstance(stored, Mapping) and isinstance(asked, Mapping):
        for key in sorted({*stored, *asked}, key=str):
            inner = f"{path}.{key}" if path else str(key)
            if key not in stored:
                yield f"{inner}: not stored, asked for {asked[key]!r}"
            elif key not in asked:
                yield f"{inner}: stored {stored[key]!r}, not asked for"
            else:
                yield from differences(stored[key], asked[key], inner)
    elif type(stored) is not type(asked) or stored != asked:
        yield f"{path}: stored {stored!r}, asked for {asked!r}"
