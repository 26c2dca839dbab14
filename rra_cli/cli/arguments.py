"""The arguments of `rra run` and `rra plan`: Hydra's own flags, in any order, and overrides."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rra_cli.errors import UserError, did_you_mean

INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
FLAGS = ("--help", "--multirun", "--from", "--cfg", "--resolve", "--package", "--config-dir", "--info", "--hydra-help")

# Of Hydra's flags, what would load code or a pickle, or leave our configurations behind.
REFUSED = {
    "--config-path": "our configurations are always there; add your own with --config-dir DIR",
    "-cp": "our configurations are always there; add your own with --config-dir DIR",
    "--config-name": "write DIR/experiment/NAME.yaml and use --config-dir DIR +experiment=NAME",
    "-cn": "write DIR/experiment/NAME.yaml and use --config-dir DIR +experiment=NAME",
    "--experimental-rerun": "it reads a pickle; `rra run` with the same arguments goes on where it stopped",
    "--shell-completion": "`rra completion bash` prints the completion",
    "-sc": "`rra completion bash` prints the completion",
}


class ArgumentParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}", f"`{self.prog} --help` explains the arguments")


def parse(command: str, arguments: Sequence[str]) -> argparse.Namespace:
    """Flags and overrides of a command line. Raises `UserError` for a flag that is unknown, refused or incomplete."""
    for argument in arguments:
        flag = argument.partition("=")[0]
        if flag in REFUSED:
            raise UserError(f"rra {command}: {flag} is not available", REFUSED[flag])
    parser = ArgumentParser(prog=f"rra {command}", add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("-cd", "--config-dir", action="append", type=Path, default=[])
    if command == "run":
        parser.add_argument("-m", "--multirun", action="store_true")
        parser.add_argument("-r", "--run", action="store_true")
        parser.add_argument("--from", dest="source", type=Path)
        parser.add_argument("-c", "--cfg", choices=("job", "hydra", "all"))
        parser.add_argument("--resolve", action="store_true")
        parser.add_argument("-p", "--package")
        parser.add_argument("-i", "--info", choices=INFO)
        parser.add_argument("--hydra-help", action="store_true")
    parser.add_argument("overrides", nargs="*")
    parsed, unknown = parser.parse_known_intermixed_args(_with_info(arguments))
    if command == "plan" and unknown[:1] in (["-m"], ["--multirun"]):
        raise UserError(
            f"rra plan: there is no {unknown[0]}: a plan is of one job",
            "give one value for each key; `rra run -m` names its jobs before the first starts, `rra status` shows them",
        )
    if unknown:
        known = [option for action in parser._actions for option in action.option_strings]
        raise UserError(
            f"rra {command}: there is no {unknown[0]}; {did_you_mean(unknown[0], known)}",
            f"`rra {command} --help` explains the arguments",
        )
    return parsed


def _with_info(arguments: Sequence[str]) -> list[str]:
    """`--info` alone means `--info all`; argparse would take the override behind it for its value."""
    found: list[str] = []
    for position, argument in enumerate(arguments):
        found.append(argument)
        following = arguments[position + 1] if position + 1 < len(arguments) else ""
        if argument in ("-i", "--info") and (not following or "=" in following or following.startswith("-")):
            found.append("all")
    return found
