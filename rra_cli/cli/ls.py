"""`rra ls`: what there is, a line each, read from the YAML folders and the docstrings without importing torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rra_cli.config import catalog
from rra_cli.config.compose import NO_CODE
from rra_cli.config.safety import file_faults
from rra_cli.core.component import GROUPS
from rra_cli.errors import EXIT_OK, ConfigError, UserError, did_you_mean

# Studies are sections of the configuration, not groups of options.
SECTIONS = [
    ("samples", "values by the numbers of samples and neighbours, as samples.sizes=[1000,2500] (docs/samples.md)"),
    ("invariance", "altered copies held against their samples, by the options of alter (docs/sensitivity.md)"),
    ("pictures", "layers in two dimensions, as pictures.layers=[logits] (docs/lecture.md)"),
    ("compare", "approximate searches held against the exact one (docs/neighbors.md)"),
    ("transfer", "probes on other data sets (docs/probes.md)"),
    ("metrics.intervals", "intervals of metrics and probes over sets of samples, =blocks (docs/metrics_reference.md)"),
    ("metrics.null_test", "p-values of unrelated data, =permutation (docs/metrics_reference.md)"),
]

HELP = """\
rra ls: what there is to choose from.

usage: rra ls [GROUP ...] [--config-dir DIR]

Groups: experiment, model, dataset, method, augment, alter, optimizer, pooling, neighbors, metrics, runtime.
An option is used as GROUP=OPTION; of a component that has no option of its own, write {name: COMPONENT}.
Studies are sections of the configuration: `rra ls sections` names them.
"""
ORDER = (
    "experiment",
    "dataset",
    "model",
    "method",
    "augment",
    "alter",
    "optimizer",
    "pooling",
    "neighbors",
    "metrics",
    "runtime",
)


def main(arguments: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    if any(argument in ("-h", "--help") for argument in arguments):
        sys.stdout.write(HELP)
        return EXIT_OK
    wanted, folders = _parse(arguments)
    options = catalog.options(folders)
    known = [*(group for group in ORDER if group in options), *(group for group in options if group not in ORDER)]
    known.append("sections")
    groups = [_group(name, known) for name in wanted] or known
    lines: list[str] = []
    for group in groups:
        found = SECTIONS if group == "sections" else list_group(group, options[group])
        width = max((len(name) for name, _ in found), default=0)
        lines += ([f"{group}:"] if len(groups) > 1 else []) + [
            f"{'  ' if len(groups) > 1 else ''}{name:<{width}}  {about}".rstrip() for name, about in found
        ]
        lines += [""] if len(groups) > 1 else []
    sys.stdout.write("\n".join(lines).rstrip("\n") + "\n")
    return EXIT_OK


def list_group(group: str, options: dict[str, catalog.Option]) -> list[tuple[str, str]]:
    """Name and one line about every option, then about the components that no option of the same name shows."""
    entries = catalog.entries(group) if group in GROUPS else {}
    abouts = {name: entry.about for name, entry in entries.items()}
    found = [(name, option.about or abouts.get(name, "")) for name, option in options.items()]
    return sorted(found) + [(f"{{name: {name}}}", about) for name, about in abouts.items() if name not in options]


def _parse(arguments: Sequence[str]) -> tuple[list[str], list[Path]]:
    wanted, folders = [], []
    rest = iter(arguments)
    for argument in rest:
        flag, _, value = argument.partition("=")
        if flag in ("-cd", "--config-dir"):
            folder = Path(value or next(rest, ""))
            if not folder.is_dir() or folder == Path():
                raise UserError(f"--config-dir {folder}: there is no such folder", "give a folder of YAML files")
            faults = [fault for path in sorted(folder.rglob("*.yaml")) for fault in file_faults(path, folder)]
            if faults:
                raise ConfigError(faults, NO_CODE)
            folders.append(folder)
        elif argument.startswith("-"):
            raise UserError(f"rra ls: there is no {argument}", "`rra ls --help` explains the arguments")
        else:
            wanted.append(argument)
    return wanted, folders


def _group(name: str, known: Sequence[str]) -> str:
    """The group of that name, singular or plural."""
    for group in known:
        if name.removesuffix("s") == group.removesuffix("s"):
            return group
    raise UserError(f"there is no group {name!r}; {did_you_mean(name, known)}", "`rra ls` lists all groups")
