"""Reading small files that anybody may have written: never a device, never more than was agreed, never without end."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rra_cli.core.resources import format_bytes

if TYPE_CHECKING:
    from yaml import Node

MOST_JSON = 64 * 10**6  # bytes
MOST_YAML = 10**6
MOST_VALUES = 100_000  # of a YAML file, each alias counted as often as it is used


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file. Raises ValueError for anything else and for more than `most` bytes, OSError."""
    # Without O_NONBLOCK opening a named pipe would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if status.st_size > most:
            raise ValueError(f"it has {format_bytes(status.st_size)}, more than {format_bytes(most)}")
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {format_bytes(most)}")
    return content


def read_json(path: Path, most: int = MOST_JSON) -> Any:
    """The value in a JSON file. Raises ValueError where it is none or nested too deeply, and as `read_bytes`."""
    try:
        return json.loads(read_bytes(path, most))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_yaml(path: Path, most: int = MOST_YAML) -> Any:
    """The value in a YAML file, by `parse_yaml`. Raises as `read_bytes`, too."""
    return parse_yaml(read_bytes(path, most).decode("utf-8"))


def parse_yaml(text: str) -> Any:
    """Plain values: no tag makes anything else, and aliases make at most `MOST_VALUES` of them.

    Raises ValueError for what is not YAML, is nested too deeply, holds itself, or grows beyond that.
    """
    import yaml  # comes with omegaconf

    try:
        loader = yaml.SafeLoader(text)
        try:
            # Looked at before anything is made of it: merging (`<<`) doubles with every level.
            node = loader.get_single_node()
            if node is None:
                return None
            _expanded(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError:
        raise ValueError(
            "it is nested too deeply, or an alias (*name) stands inside of its own anchor (&name)"
        ) from None
    except (AttributeError, TypeError, OverflowError, LookupError) as error:  # of its constructors, by tag
        raise ValueError(f"it holds a value that does not fit its tag ({error})") from error


def _expanded(node: Node, known: dict[int, int]) -> int:
    """How many values the node becomes. Raises ValueError beyond the limit, RecursionError where it holds itself."""
    import yaml

    if id(node) in known:
        if known[id(node)] == 0:
            raise RecursionError
        return known[id(node)]
    known[id(node)] = 0
    count = 1
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            count += sum(_expanded(part, known) for part in pair)
    elif isinstance(node, yaml.SequenceNode):
        count += sum(_expanded(part, known) for part in node.value)
    if count > MOST_VALUES:
        raise ValueError(f"its aliases (*name) make more than {MOST_VALUES:,} values of it")
    known[id(node)] = count
    return count
