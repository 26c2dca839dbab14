"""No configuration runs code: what a user's files and overrides may not say, checked before Hydra acts on any of it.

Hydra itself calls what `_target_` (callbacks, launchers, sweepers) and `()` or `class` (logging) name. So of `hydra.*`
a user may set an allow-list of plain values only, and the keys that name code are refused everywhere. Three nets, each
enough for the plain attacks: the words of the overrides, the text of the files, and the composed `hydra` node, which
may differ from ours in allowed places only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rra_cli.core.reading import MOST_YAML, parse_yaml, read_bytes

CODE_KEYS = frozenset({"_target_", "_partial_", "_recursive_", "_convert_", "_args_", "_method_", "()"})
PATHS = frozenset({"hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir"})
PLAIN = frozenset(
    {"hydra.verbose", *(f"hydra.job.config.override_dirname.{key}" for key in ("kv_sep", "item_sep", "exclude_keys"))}
)
# Of our launchers and of submitit's: numbers and names. Not `setup`, `python`, `srun_args`: those are commands.
LAUNCHER_FIELDS = frozenset(
    {
        "account",
        "additional_parameters",
        "array_parallelism",
        "batch_size",
        "comment",
        "constraint",
        "cpus",
        "cpus_per_gpu",
        "cpus_per_task",
        "exclude",
        "gpus",
        "gpus_per_node",
        "gpus_per_task",
        "gres",
        "max_num_timeout",
        "mem_gb",
        "mem_per_cpu",
        "mem_per_gpu",
        "memory",
        "n_jobs",
        "name",
        "nodes",
        "partition",
        "pre_dispatch",
        "qos",
        "requeue",
        "signal",
        "signal_delay_s",
        "stderr_to_stdout",
        "submitit_folder",
        "tasks_per_node",
        "time",
        "timeout_min",
        "verbose",
        "wait",
    }
)
ALLOWED = "allowed are hydra.run.dir, hydra.sweep.*, hydra.verbose, hydra/launcher and plain fields of hydra.launcher"
# What `${name:...}` may compute. Not oc.create, oc.decode, oc.deprecated: what they make of a text was not looked at.
RESOLVERS = frozenset(
    {"oc.env", "oc.select", "oc.dict.keys", "oc.dict.values", "now", "hydra", "rra.per", "rra.job_folder"}
)
# What a file may take from the environment: it may hold secrets, and a run folder is shown to others.
FROM_ENVIRONMENT = frozenset({"root", "path", "dir", "seed", "shard"})
# Filled in by Hydra, or set by us.
_OWN = ("hydra.overrides", "hydra.runtime", "hydra.searchpath", "hydra.job.override_dirname", "hydra.job.config_name")

LONGEST = 100_000  # characters of a value

_PACKAGE_HEADER = re.compile(r"^\s*#\s*@package\s+(.*)$", re.MULTILINE)
_RESOLVER = re.compile(r"\$\{\s*([^${}:]*?)\s*:")
_PLAIN_DEFAULT = re.compile(r"(?:[\w.@/ -]|\$\{[\w./@]+\})*")
_DEFAULT = re.compile(r"^(?:optional\s+|override\s+)*(?P<group>[^@\s]+)(?:@(?P<package>.*))?$")


def override_faults(key: str, value: Any) -> list[str]:
    """Why an override `key=value` is refused; empty where it may pass. `key` is without `+`, `++` and `~`."""
    faults = [f"{key}: {word!r} is refused: a configuration names no code" for word in _code_keys(key.split("."))]
    faults += [f"{key}: {word!r} is refused: a configuration names no code" for word in _code_keys(value)]
    faults += [f"{key}: {fault}" for text in _texts(value) for fault in _text_faults(text)]
    group, _, package = key.partition("@")
    if "hydra" in re.split(r"[./]", package):
        faults.append(f"{key}: nothing may be placed inside of hydra")
    elif group.startswith("hydra/"):
        if group != "hydra/launcher" or package:
            faults.append(f"{key}: may not be set; {ALLOWED}")
        elif not isinstance(value, str) or not re.fullmatch(r"\w+", value):
            faults.append(f"{key}: expected the name of an installed launcher, got {value!r}")
    elif key == "hydra" or key.startswith("hydra."):
        faults += _hydra_faults(key, value)
    return faults


def file_faults(path: Path, root: Path) -> list[str]:
    """Why a user's YAML file under `root` is refused; empty where it may be used."""
    where = path.relative_to(root).as_posix()
    if "hydra" in path.relative_to(root).with_suffix("").parts:
        return [f"{where}: files of Hydra's own groups are refused; {ALLOWED}"]
    try:
        text = read_bytes(path, MOST_YAML).decode("utf-8")
        content = parse_yaml(text)
        forbidden = list(_code_keys(content))
    except (OSError, ValueError) as error:
        return [f"{where}: cannot be read as YAML: {' '.join(str(error).split())}"]
    faults = [
        f"{where}: '# @package {package.strip()}' would place it inside of hydra"
        for package in _PACKAGE_HEADER.findall(text)
        if "hydra" in re.split(r"[.\s]", package)
    ]
    faults += [f"{where}: {word!r} is refused: a configuration names no code" for word in forbidden]
    if content is None:
        return faults
    if not isinstance(content, Mapping):
        return [*faults, f"{where}: expected a mapping, found a {type(content).__name__}"]
    for key, text in _leaves({key: value for key, value in content.items() if key != "defaults"}):
        faults += [f"{where}: {key}: {fault}" for each in _texts(text) for fault in _text_faults(each)]
        reads = any("oc.env" in _RESOLVER.findall(each) for each in _texts(text))
        if reads and key.split(".")[-1] not in FROM_ENVIRONMENT:
            faults.append(f"{where}: {key}: the environment is read for {', '.join(sorted(FROM_ENVIRONMENT))} alone")
    for key, value in content.items():
        if key == "defaults":
            faults += [f"{where}: {fault}" for fault in _default_faults(value)]
        elif key == "hydra" or str(key).startswith("hydra."):
            leaves = [(f"{key}.{inner}" if inner else str(key), leaf) for inner, leaf in _leaves(value)]
            faults += [f"{where}: {fault}" for leaf in leaves for fault in _hydra_faults(*leaf)]
    return faults


def composed_faults(config: Mapping[str, Any], trusted: Mapping[str, Any]) -> list[str]:
    """Why a composed configuration is refused: `hydra` differs from the trusted one where it may not.

    Both plain containers, unresolved. The net under the other two: whatever trick put a value there, it is seen here.
    """
    given, expected = dict(_leaves(config["hydra"])), dict(_leaves(trusted["hydra"]))
    faults = []
    for key in sorted(given.keys() | expected.keys()):
        path = f"hydra.{key}"
        if path.startswith(_OWN) or (key in given and key in expected and given[key] == expected[key]):
            continue
        faults += _hydra_faults(path, given.get(key))
    rest = {key: value for key, value in config.items() if key != "hydra"}
    return faults + [f"{word!r} is refused: a configuration names no code" for word in _code_keys(rest)]


def _hydra_faults(key: str, value: Any) -> list[str]:
    head, _, name = key.partition("hydra.launcher.")
    # additional_parameters is a mapping: its leaves are asked for one by one.
    launcher = not head and name.split(".")[0] in LAUNCHER_FIELDS and (name.count(".") < 2)
    if key not in PATHS | PLAIN and not launcher:
        return [f"{key}: may not be set; {ALLOWED}"]
    for text in _texts(value):
        if any(ord(letter) < 32 for letter in text):
            # A line break in a SLURM parameter would start a line of the job's shell script.
            return [f"{key}: control characters are refused"]
        if "${" in text and key not in PATHS:
            return [f"{key}: '${{' is refused here, a plain value is expected"]
    return []


def _default_faults(defaults: Any) -> Iterator[str]:
    for entry in defaults if isinstance(defaults, list) else [defaults]:
        for key, value in entry.items() if isinstance(entry, Mapping) else [(entry, None)]:
            match = _DEFAULT.match(str(key))
            if match is None:
                yield f"defaults: {key!r} is not understood"
                continue
            group, package = match["group"].lstrip("/"), match["package"] or ""
            if "hydra" in re.split(r"[./]", package):
                yield f"defaults: {key!r} would place a file inside of hydra"
            elif ".." in re.split(r"[/@]", group) or any(not _is_plain(name) for name in _names(value)):
                yield f"defaults: {key!r}: names of groups and options are expected, no paths out of the folder"
            elif group.split("/")[0] == "hydra":
                yield from (f"defaults: {fault}" for fault in override_faults(group, value))


def _is_plain(name: Any) -> bool:
    """Whether it can only name an option below its group."""
    text = str(name)
    return not text.startswith(("/", "~")) and ".." not in text.split("/") and bool(_PLAIN_DEFAULT.fullmatch(text))


def _names(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _text_faults(text: str) -> list[str]:
    """Why a value is refused: what it would have computed is not on the list."""
    if len(text) > LONGEST:
        return [f"a value of {len(text):,} characters is refused"]
    strange = [name for name in _RESOLVER.findall(text) if name not in RESOLVERS]
    return [f"'${{{name}:' is refused; allowed are {', '.join(sorted(RESOLVERS))}" for name in strange]


def _code_keys(value: Any) -> Iterator[str]:
    """The forbidden words among all keys of nested containers (and the items of a list of keys)."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if any(part in CODE_KEYS for part in str(key).split(".")):
                yield str(key)
            yield from _code_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, str) and item in CODE_KEYS:
                yield item
            yield from _code_keys(item)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of everything that is not a mapping; an empty mapping is a leaf."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(str(key))
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
