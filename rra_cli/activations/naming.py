"""File names of layers: `007_layer1.0.conv1.npy` is the layer `layer1.0.conv1`, eighth in order."""

from __future__ import annotations

import re
from hashlib import sha256
from urllib.parse import quote, unquote

LABELS = "labels.npy"
SUFFIX = ".npy"
_PREFIXED = re.compile(r"(?P<index>[0-9]+)_(?P<name>.+)", re.DOTALL)
_FIT = "._-@+ "


def layer_file(index: int, layer: str) -> str:
    """The file name of a layer; the number makes name order the order of layers."""
    return f"{index:03d}_{safe_name(layer)}{SUFFIX}"


def layer_name(stem: str) -> str:
    """The layer that a file name (without .npy) stands for: without its numeric prefix, escapes undone."""
    match = _PREFIXED.fullmatch(stem)
    name = match["name"] if match else stem
    plain = unquote(name)
    return plain if quote(plain, safe=_FIT) == name else name  # a user's own "100%" is no escape


def order_key(stem: str) -> tuple[bool, int, str]:
    """Sorts file names (without .npy): by numeric prefix, then by name; those without a prefix come last."""
    match = _PREFIXED.fullmatch(stem)
    return (False, int(match["index"]), stem) if match else (True, 0, stem)


def safe_name(name: str) -> str:
    """The name with every character that a file system may refuse as %XX; a very long one is cut and ends in a hash."""
    escaped = quote(name, safe=_FIT)
    return escaped if len(escaped) <= 150 else f"{escaped[:120]}-{sha256(name.encode()).hexdigest()[:16]}"
