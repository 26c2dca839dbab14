"""Calling Hydra: what it reads from `sys.argv`, and what it raises, in our words."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rra_cli.errors import UserError


def call_hydra(flags: Sequence[str], overrides: Sequence[str], config_dirs: Sequence[Path]) -> None:
    """Hands the command line to Hydra, which calls the job. Raises what goes wrong in Hydra itself."""
    from rra_cli.cli.job import forget, hydra_main
    from rra_cli.config import catalog
    from rra_cli.config.compose import search_path

    found = search_path([*catalog.plugin_folders(), *config_dirs])
    forget()
    with _arguments([*flags, *found, *overrides]):
        hydra_main()


def in_folder(key: str, folder: Path) -> list[str]:
    """The override that puts a folder into Hydra's configuration."""
    from rra_cli.config.overrides import quote

    return [f"{key}={quote(str(folder))}"]


@contextmanager
def hydra_errors() -> Iterator[None]:
    """What Hydra has to say about the input, as a `UserError`."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from rra_cli.config.bind import HINT
    from rra_cli.config.compose import hydra_message

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(hydra_message(error), HINT) from error


@contextmanager
def _arguments(arguments: Sequence[str]) -> Iterator[None]:
    """`@hydra.main` reads sys.argv, and reports errors itself unless HYDRA_FULL_ERROR is set."""
    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [argv[0], *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error
