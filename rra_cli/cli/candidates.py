"""What may stand at the end of a command line that is being typed. Needs neither Hydra nor torch, so it is fast."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from rra_cli.cli import COMMANDS, compare
from rra_cli.cli.arguments import FLAGS, INFO
from rra_cli.config import catalog
from rra_cli.config.bind import SECTIONS
from rra_cli.core.component import GROUPS

PATH_KEYS = ("activations.path", "dataset.root", "store.root", "hydra.run.dir", "hydra.sweep.dir")
HYDRA_KEYS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.launcher.n_jobs", "hydra.verbose")


def candidates(line: str) -> list[str]:
    """Whole words that continue the last word of the line (which is empty behind a blank)."""
    words = line.split()
    if not words or line[-1:].isspace():
        words.append("")
    *before, word = words
    if len(before) <= 1:
        return _matching(word, [*(f"{command} " for command in COMMANDS), "--help ", "--version "])
    command, previous = before[1], before[-1]
    if command in ("run", "plan"):
        return _run(word, before, previous)
    if command == "compare":
        return _compare(word, previous)
    if command == "ls":
        return _matching(word, [f"{group} " for group in (*catalog.options(), "sections")])
    if command == "completion":
        return _matching(word, ["bash ", "zsh ", "fish "])
    if command == "doctor":
        return _matching(word, ["--store ", "--help "])
    if command == "gc":
        flags = ("--dry-run", "--older-than", "--list", "--forget-unseen", "--store", "--help")
        return [] if previous == "--older-than" else _matching(word, [f"{flag} " for flag in flags])
    if command == "status" and word.startswith("-"):
        return _matching(word, ["--watch ", "--once ", "--help "])
    return _paths(word) if command in ("report", "status", "job") else []


def _compare(word: str, previous: str) -> list[str]:
    if previous == "--band":
        return _matching(word, [f"{band} " for band in compare.BANDS])
    if previous == "--checkpoints":
        return _matching(word, ["last ", "all ", "none "])
    if previous in ("--correlate", "--level", "--threads"):
        return []
    return _matching(word, [f"{flag} " for flag in compare.FLAGS]) if word.startswith("-") else _paths(word)


def _run(word: str, before: Sequence[str], previous: str) -> list[str]:
    if previous in ("--config-dir", "-cd", "--from"):
        return _paths(word, folders=True)
    if previous in ("--cfg", "-c"):
        return _matching(word, ["job ", "hydra ", "all "])
    if previous in ("--info", "-i") and not re.search("[=+]", word):
        return _matching(word, [f"{what} " for what in INFO])
    if word.startswith("-"):
        return _matching(word, [f"{flag} " for flag in FLAGS])
    sign = re.match(r"[+~]*", word)
    assert sign is not None, "the pattern matches the empty string"
    answers = _overrides(word[sign.end() :], before)
    return [f"{sign.group()}{answer}" for answer in answers]


def _overrides(word: str, before: Sequence[str]) -> list[str]:
    folders = [Path(word) for flag, word in pairwise(before) if flag in ("-cd", "--config-dir")]
    options = catalog.options([folder for folder in folders if folder.is_dir()])
    key, equals, value = word.partition("=")
    if equals:
        return [f"{key}={answer}" for answer in _values(key, value, options, before)]
    first, dot, _ = key.partition(".")
    if first == "hydra":
        return _matching(word, [f"{name}=" for name in HYDRA_KEYS])
    if dot:
        parent = key.rpartition(".")[0]
        return _matching(word, [f"{parent}.{name}" for name in _keys(parent, options, before)])
    roots = ["seed=", *(f"{group}=" for group in options)]
    roots += [f"{group}." for group in (*(group for group in options if group != "experiment"), *SECTIONS)]
    return _matching(word, dict.fromkeys(roots))


def _values(key: str, value: str, options: Mapping[str, Mapping[str, Any]], before: Sequence[str]) -> list[str]:
    if key in options:
        # In a list or a sweep, the last item is being typed.
        done, item = value[: (cut := max(value.rfind(","), value.rfind("[")) + 1)], value[cut:]
        end = "" if done.startswith("[") else " "
        return [f"{done}{name}" for name in _matching(item, [f"{name}{end}" for name in options[key]])]
    if key == "hydra/launcher":
        return _matching(value, ["basic ", "joblib ", "slurm "])
    if key in PATH_KEYS:
        return _paths(value, folders=True)
    parent, _, name = key.rpartition(".")
    return _matching(value, [f"{choice} " for choice in _choices(_fields(parent, options, before).get(name, ""))])


def _keys(group: str, options: Mapping[str, Mapping[str, Any]], before: Sequence[str]) -> list[str]:
    """The keys below a group, as `name=` or `name.` where something lies below."""
    if group in ("metrics", "pooling"):
        values = _chosen(group, options, before)
        return [f"{name}{'.' if isinstance(item, dict) and item else '='}" for name, item in values.items()]
    return [f"{name}=" for name in _fields(group, options, before)]


def _fields(group: str, options: Mapping[str, Mapping[str, Any]], before: Sequence[str]) -> Mapping[str, str]:
    """Field -> annotation of what is chosen in a group, or of one metric (`metrics.COLUMN`)."""
    if group in SECTIONS:
        return {name: str(hint) for name, hint in SECTIONS[group].__annotations__.items()}
    group, _, column = group.partition(".")
    if group not in GROUPS:
        return {}
    values = _chosen(group, options, before)
    if group == "metrics":
        if not column:
            return dict.fromkeys((key for key, value in values.items() if isinstance(value, bool)), "bool")
        values = values[column] if isinstance(values.get(column), dict) else {}
    entry = catalog.entries(group).get(str(values.get("name")))
    return entry.fields if entry is not None else dict.fromkeys((key for key in values if key != "name"), "")


def _chosen(group: str, options: Mapping[str, Mapping[str, Any]], before: Sequence[str]) -> dict[str, Any]:
    """The values of the option that the line chooses, else its experiment, else our defaults."""
    choices = dict(_defaults(catalog.own_folder() / "config.yaml"))
    given = dict(word.lstrip("+").split("=", 1) for word in before if "=" in word)
    if (experiment := options.get("experiment", {}).get(given.get("experiment", ""))) is not None:
        choices.update(_defaults(experiment.path))
    choices.update({key: value for key, value in given.items() if key in options})
    chosen = choices.get(group)
    values: dict[str, Any] = {}
    for name in chosen if isinstance(chosen, list) else str(chosen).strip("[]").split(","):
        option = options.get(group, {}).get(str(name))
        values |= _load(option.path) if option is not None else {}
    return {key: value for key, value in values.items() if key != "defaults"}


def _defaults(path: Path) -> Iterable[tuple[str, Any]]:
    """Group and option of every entry of a defaults list."""
    listed = _load(path).get("defaults")
    for entry in listed if isinstance(listed, list) else ():
        for key, value in entry.items() if isinstance(entry, dict) else ():
            yield str(key).removeprefix("override ").lstrip("/"), value


def _load(path: Path) -> dict[str, Any]:
    from rra_cli.core.reading import read_yaml

    try:
        values = read_yaml(path)
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _choices(annotation: str) -> list[str]:
    """The values that an annotation lists."""
    literals = [ast.literal_eval(f"[{group}]") for group in re.findall(r"Literal\[(.*?)\]", annotation)]
    return [str(value) for literal in literals for value in literal] + (
        ["true", "false"] if re.search(r"\bbool\b", annotation) else []
    )


def _paths(word: str, *, folders: bool = False) -> list[str]:
    """Paths that continue a word; a folder ends with `/`."""
    parent, _, start = word.rpartition("/")
    folder = Path(f"{parent}/" if "/" in word else ".").expanduser()
    try:
        found = sorted(path for path in folder.iterdir() if path.name.startswith(start))
    except OSError:
        return []
    lead = f"{parent}/" if "/" in word else ""
    kept = [path for path in found if (path.is_dir() or not folders) and (start or not path.name.startswith("."))]
    return [f"{lead}{path.name}{'/' if path.is_dir() else ' '}" for path in kept]


def _matching(word: str, known: Iterable[str]) -> list[str]:
    return [name for name in known if name.startswith(word)]
