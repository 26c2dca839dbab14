"""`rra run --from FOLDER`: what is repeated, what differs from then, and the run or the sweep itself."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rra_cli.cli import job
from rra_cli.cli.again import (
    check_free,
    data_changes,
    differences_now,
    follow_recorded,
    recorded,
    repeat,
    repeated_sweep,
    source_folder,
)
from rra_cli.cli.hydra_call import hydra_errors
from rra_cli.config import catalog
from rra_cli.config.bind import HINT, bind
from rra_cli.config.compose import composed
from rra_cli.config.overrides import check
from rra_cli.core.progress import Reporter
from rra_cli.core.sweepdir import is_sweep
from rra_cli.errors import ConfigError, UserError
from rra_cli.reporters import make_reporter


def run_again(args: argparse.Namespace, command: str) -> int:
    """Repeats a run in a new folder, or a sweep in one that is the same for the same request; gives the exit code.

    Raises `UserError` where the folder holds neither, or where what is given with it would change what is computed.
    """
    if args.config_dir:
        raise UserError("--from needs no --config-dir", "a run folder holds its whole configuration; leave it out")
    checked = check(args.overrides, catalog.options(), sweep=False)
    if checked.faults:
        raise ConfigError(checked.faults, HINT)
    check_free(checked.overrides)
    source = Path(args.source).expanduser().absolute()
    if not source.is_dir():
        raise UserError(f"--from {source}: there is no such folder", "give the folder of a run or of a sweep")
    hydra = [text for text in checked.overrides if text.lstrip("+").startswith("hydra")]
    changes = [text for text in checked.overrides if text not in hydra]
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and is_sweep(source):
        raise UserError("torchrun starts one run, not a sweep", "rra job SWEEP NUMBER is one job of it")
    if int(os.environ.get("RANK", 0)) > 0:
        return follow_recorded(source, changes)
    config, _ = composed(hydra, [])
    if is_sweep(source):
        return _sweep_again(source, changes, config, command)
    if str(config.hydra.runtime.choices["hydra/launcher"]) != "basic":
        raise UserError(f"{source} is one run: it needs no launcher", "leave hydra/launcher out")
    return _run_again(source, changes, config)


def _run_again(source: Path, changes: Sequence[str], config: Any) -> int:
    from rra_cli.cli.run import run_folder

    run = recorded(source, changes)
    reporter = make_reporter(bind(run.config, run.name).runtime.progress)
    _tell(reporter, source, [*run.notes, *differences_now(source)])
    with hydra_errors():
        folder = run_folder(config.hydra.run.dir, run.name)
    with job.nothing_half_written(folder):
        job.check_folder(folder)
        job.forget()
        repeat(source, folder, changes)
        changed = data_changes(source, folder)
        if changed:
            reporter.warn(f"these are other data than those of {source}: {', '.join(changed)}")
        return job.finish_single(folder)


def _sweep_again(source: Path, changes: Sequence[str], config: Any, command: str) -> int:
    from rra_cli.cli.launchers import launch_of
    from rra_cli.cli.sweep_run import run_sweep

    name = str(config.hydra.runtime.choices["hydra/launcher"])
    with hydra_errors():
        sweep = repeated_sweep(source, changes, str(config.hydra.sweep.dir), name, command)
    folders = [folder for each in sweep.jobs if (folder := source_folder(each)) is not None]
    experiment = None
    if folders:
        first = recorded(folders[0], changes)
        experiment = bind(first.config, first.name)
        _tell(make_reporter(experiment.runtime.progress), source, [*first.notes, *differences_now(folders[0])])
    return run_sweep(sweep, launch_of(config, experiment))


def _tell(reporter: Reporter, source: Path, notes: Sequence[str]) -> None:
    """Says what is repeated, and what may make it come out otherwise."""
    reporter.note(
        f"the same as {source} again; what the store holds already is not computed anew (store.root=DIR does)"
    )
    for note in notes:
        reporter.warn(note)
