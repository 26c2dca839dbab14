"""`rra run`: checks everything that can be checked, then lets Hydra make the folder and call the job."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rra_cli.cli.arguments import parse
from rra_cli.cli.hydra_call import call_hydra, hydra_errors, in_folder
from rra_cli.errors import EXIT_OK, EXIT_USER, ConfigError, UserError

if TYPE_CHECKING:
    import argparse

    from rra_cli.config.experiment import Experiment
    from rra_cli.config.overrides import Checked

HELP = """\
rra run: runs every missing stage of an experiment and writes a dated run folder.

usage: rra run +experiment=NAME [key=value ...] [flags]

  rra run +experiment=quickstart                     (experiment=quickstart works as well)
  rra run +experiment=quickstart model=mlp seed=3    another option of a group, another value
  rra run +experiment=rra_mnist dataset.n_samples=2000 neighbors.k=20
  rra run +experiment=from_activations activations.path=DIR neighbors.k=30
  rra run -m +experiment=quickstart 'seed=range(8)'  a sweep: one job for every combination of values
  rra run -m +experiment=quickstart 'seed=range(8)' hydra/launcher=joblib     its jobs side by side
  rra run --from RUN                                 the same again, from a run's or a sweep's folder alone

The same command again goes on where it stopped; what is finished is never done twice.
`rra ls` lists experiments and options, `rra plan` shows what a run would do, `rra status` how far runs are.

overrides
  GROUP=OPTION       dataset, model, method, augment, optimizer, pooling, neighbors, metrics, runtime
  KEY=VALUE          seed, dataset.n_samples, method.epochs, neighbors.k, runtime.device, store.root ...
  hydra.run.dir=DIR  the run folder; by default outputs/DATE/TIME_EXPERIMENT (RRA_OUTPUTS: another than ./outputs)
  hydra.sweep.dir=DIR      the folder of a sweep; by default outputs/sweeps/EXPERIMENT_IDENTITY, always the same for
                           the same sweep
  hydra/launcher=joblib    jobs side by side on this machine; hydra.launcher.n_jobs=N, runtime.gpus_per_job=N
  hydra/launcher=slurm     jobs as tasks of a SLURM array; hydra.launcher.partition=P, .time=8:00:00, .gpus=1 ...
  Lists are written [a,b], mappings {train: 1000, test: 500}; quote both for the shell.

flags
  -m, --multirun     a sweep over all comma-separated values and ranges
  --from FOLDER      a run or a sweep again; only runtime.*, places and the launcher may be given with it
  -c, --cfg job      print the configuration and stop (hydra, all: with Hydra's part; --resolve, --package KEY)
  -cd, --config-dir DIR   a folder with your own DIR/experiment/NAME.yaml, DIR/model/NAME.yaml ... (repeatable)
  -i, --info [WHAT]  what Hydra found: all, config, defaults, defaults-tree, plugins, searchpath
  --hydra-help       Hydra's own help

signals: Ctrl-C, SIGTERM and SIGUSR2 let a training save before the run ends; a second one ends it at once. The same
command goes on. A training of several processes (method.ranks=N) is started by
  torchrun --nproc-per-node=N -m rra_cli run +experiment=NAME method.ranks=N

exit codes: 0 done, 1 a fault of rra (with its traceback), 2 something to mend in the input, 130 ended by Ctrl-C,
75 by SIGTERM or SIGUSR2 (start it again).
A sweep runs all jobs, then exits 1 if any fault was ours, else 2 if any was the user's, else 75 if a job was ended.
"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    args = parse("run", arguments)
    if args.help:
        sys.stdout.write(HELP)
        return EXIT_OK
    # Lazy: Hydra takes a tenth of a second to import.
    from rra_cli.config import catalog
    from rra_cli.config.bind import HINT
    from rra_cli.config.compose import check_folders, composed, examine, key_faults
    from rra_cli.config.overrides import check

    check_flags(args)
    command = shlex.join(["rra", "run", *arguments])
    if args.source is not None:
        from rra_cli.cli.again_run import run_again

        return run_again(args, command)
    check_folders(args.config_dir)
    checked = check(args.overrides, catalog.options(args.config_dir), sweep=args.multirun)
    if args.cfg or args.info or args.hydra_help:
        faults = list(checked.faults)
        if not faults and args.cfg:
            # Read from the sources: binding would import torch, and printing must not wait for that.
            faults = key_faults(composed(checked.overrides, args.config_dir)[0])
        if faults:
            raise ConfigError(faults, HINT)
        return _show(args, checked)
    if not args.overrides:
        raise UserError("nothing to run", "rra run +experiment=quickstart; `rra ls experiment` lists all experiments")
    if args.multirun and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UserError("torchrun starts one job, not a sweep", "give each job its own torchrun command, without -m")
    if int(os.environ.get("RANK", 0)) > 0:
        return _follow(args)
    experiment = examine(checked, args.config_dir)
    config, name = composed(next(iter(checked.single())), args.config_dir)
    from rra_cli.cli import job

    if args.multirun:
        from rra_cli.cli.launchers import launch_of
        from rra_cli.cli.sweep import excluded, joining, lay_out
        from rra_cli.cli.sweep_run import run_sweep

        checked = joining(checked, config)
        laid_out = lay_out(checked, args.config_dir, config, name, command)
        return run_sweep(laid_out, launch_of(config, experiment, checked.overrides, excluded(checked)))
    assert experiment is not None, "without a sweep, what has no fault is bound"
    with hydra_errors():
        folder = run_folder(config.hydra.run.dir, f"{name}{altered(experiment)}")
    with hydra_errors(), job.nothing_half_written(folder):
        job.check_folder(folder)
        call_hydra([], [*checked.overrides, *in_folder("hydra.run.dir", folder)], args.config_dir)
        return job.finish_single(folder)


def _follow(args: argparse.Namespace) -> int:
    """In every process of torchrun but the first, which is the one that says what is wrong with the command."""
    from rra_cli.config.compose import load

    try:
        experiment = load(args.overrides, args.config_dir)
    except UserError:
        return EXIT_USER
    from rra_cli.stages.ranks import follow

    return follow(experiment)


def check_flags(args: argparse.Namespace) -> None:
    """Raises `UserError` for flags that exclude each other."""
    commands = {
        "--from": args.source,
        "--multirun": args.multirun,
        "--cfg": args.cfg,
        "--info": args.info,
        "--hydra-help": args.hydra_help,
    }
    given = [flag for flag, value in commands.items() if value]
    if len(given) > 1:
        raise UserError(f"rra run: {' and '.join(given)} exclude each other", "give one of them")
    if (args.resolve or args.package) and not args.cfg:
        raise UserError("rra run: --resolve and --package belong to --cfg", "add --cfg job")


def _show(args: argparse.Namespace, checked: Checked) -> int:
    """Hydra's flags that print and stop."""
    # `--info` prints through logging, which would complain line by line when its reader (head, less) goes away.
    logging.raiseExceptions = False
    flags = [f"--cfg={args.cfg}"] * bool(args.cfg) + ["--resolve"] * args.resolve + ["--hydra-help"] * args.hydra_help
    flags += [f"--package={args.package}"] * bool(args.package) + [f"--info={args.info}"] * bool(args.info)
    with hydra_errors():
        try:
            call_hydra(flags, checked.overrides, args.config_dir)
        except SystemExit as error:
            if error.code in (None, 0):
                return EXIT_OK
            # Hydra has said on stderr what it did not find.
            raise UserError(f"Hydra ended with code {error.code}", "see its message above") from error
    return EXIT_OK


def altered(experiment: Experiment) -> str:
    """What the name of a run folder says where the measured samples are altered: `_noise-0.5`; else nothing."""
    from rra_cli.data.alterations.alteration import title

    return "" if experiment.alter.is_none else f"_{title(experiment.alter).replace(' ', '-')}"


def run_folder(given: str, name: str) -> Path:
    """The folder that was asked for, else a new dated one in the outputs folder."""
    from rra_cli.config import outputs_root

    if given:
        return Path(given).expanduser().absolute()
    # Microseconds: two runs that start in the same second must not share a folder.
    moment = f"{datetime.now():%Y-%m-%d/%H-%M-%S-%f}"
    return outputs_root() / f"{moment}_{name.replace('/', '-')}"
