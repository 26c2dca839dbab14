"""Where the jobs of a sweep run. A launcher is handed the jobs that are missing, and returns when all have ended.

Ours work through `sweep.json` alone: whoever can call `rra job SWEEP NUMBER`, in this process, in another or on another
machine, runs that job into its folder, and leaves how it ended in the sweep's. A new launcher is a function here and
`conf/hydra/launcher/NAME.yaml` with its fields. Any other that is installed for Hydra is left to Hydra.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rra_cli.cli.hydra_call import call_hydra, hydra_errors, in_folder
from rra_cli.config.experiment import Experiment, Runtime
from rra_cli.config.overrides import launcher_fault
from rra_cli.core.progress import Reporter
from rra_cli.core.sweepdir import Sweep, SweepJob
from rra_cli.errors import ConfigError, UserError

if TYPE_CHECKING:
    from rra_cli.slurm.settings import Settings


@dataclass(frozen=True)
class Launch:
    """How a sweep is to be run. name: of the launcher; fields: its own settings; overrides: of the whole sweep, in
    Hydra's words; excluded: what makes Hydra name folders as we do; ranks: processes of a job.
    """

    name: str
    runtime: Runtime
    fields: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    ranks: int = 1


@dataclass(frozen=True)
class Launched:
    """What a launcher leaves behind. complaint: where a job was lost by no fault of its own; left: the numbers of jobs
    that go on by themselves.
    """

    complaint: str | None = None
    left: frozenset[int] = frozenset()


def launch_of(
    config: Any, experiment: Experiment | None, overrides: Sequence[str] = (), excluded: Sequence[str] = ()
) -> Launch:
    """What a composed configuration says of the launcher. experiment: None where a swept value spoils the first job."""
    from omegaconf import OmegaConf

    fields: Any = OmegaConf.to_container(config.hydra.launcher)
    name = str(config.hydra.runtime.choices["hydra/launcher"])
    runtime, ranks = (Runtime(), 1) if experiment is None else (experiment.runtime, experiment.method.ranks)
    return Launch(name, runtime, fields, tuple(overrides), tuple(excluded), ranks)


# Runs the jobs of a sweep.
Launcher = Callable[[Sweep, Sequence[SweepJob], Launch, Reporter], Launched]


def launch(sweep: Sweep, missing: Sequence[SweepJob], how: Launch, reporter: Reporter) -> Launched:
    """Runs the jobs by the launcher chosen. Raises `Interrupted` where a signal ends it, and `UserError` where SLURM
    has some of them already and another launcher is asked for.
    """
    if how.name != "slurm":
        _take_from_slurm(sweep, missing, how)
    return LAUNCHERS.get(how.name, _by_hydra)(sweep, missing, how, reporter)


def check_launch(how: Launch) -> None:
    """Raises `UserError` where the launcher's settings are wrong, before anything is written."""
    faults = [launcher_fault(how.name, f"hydra.launcher.{name}") for name in how.fields]
    if any(faults):
        raise ConfigError([fault for fault in faults if fault is not None], "docs/sweeps.md lists the settings")
    if how.name == "slurm":
        _slurm_settings(how)


def _basic(sweep: Sweep, missing: Sequence[SweepJob], how: Launch, reporter: Reporter) -> Launched:
    """One after the other, in this process."""
    from rra_cli.cli.sweep_job import run_job

    for job in missing:
        run_job(sweep, job)
    return Launched()


def _joblib(sweep: Sweep, missing: Sequence[SweepJob], how: Launch, reporter: Reporter) -> Launched:
    """Side by side, each in a process of its own on this machine."""
    from rra_cli.cli.pool import run_pool
    from rra_cli.cli.shares import share_out

    run_pool(sweep, missing, share_out(how.runtime, how.fields.get("n_jobs"), len(sweep.jobs)), how.runtime.progress)
    return Launched()


def _slurm(sweep: Sweep, missing: Sequence[SweepJob], how: Launch, reporter: Reporter) -> Launched:
    """As tasks of job arrays of a cluster."""
    from rra_cli.cli.slurm_run import run_slurm

    return Launched(left=run_slurm(sweep, missing, _slurm_settings(how), reporter, how.runtime.progress))


def _slurm_settings(how: Launch) -> Settings:
    from rra_cli.slurm.settings import settings_of

    runtime = how.runtime
    return settings_of(how.fields, ranks=how.ranks, threads=runtime.threads, gpus_per_job=runtime.gpus_per_job)


def _take_from_slurm(sweep: Sweep, missing: Sequence[SweepJob], how: Launch) -> None:
    """Where SLURM ended jobs of the sweep, they are the other launcher's from now on."""
    from rra_cli.slurm.commands import available
    from rra_cli.slurm.submission import FOLDER, forget

    if not (sweep.path / FOLDER).is_dir():
        return
    if available("squeue", "sbatch"):
        from rra_cli.cli.slurm_run import working

        theirs = sorted({task.job for number, task in working(sweep).items() if number in {j.number for j in missing}})
        if theirs:
            raise UserError(
                f"{len(theirs)} jobs of the sweep are in SLURM already",
                f"wait for them with hydra/launcher=slurm, or end them: scancel {' '.join(theirs)}",
            )
    forget(sweep.path)


def _by_hydra(sweep: Sweep, missing: Sequence[SweepJob], how: Launch, reporter: Reporter) -> Launched:
    """By a launcher that was installed for Hydra. It is handed all jobs: those that are finished end at once."""
    from rra_cli.cli.job import SWEEP

    if any(job.source is not None for job in missing):
        raise UserError(
            f"hydra/launcher={how.name} cannot repeat a sweep from its folder",
            f"use hydra/launcher={' or '.join(LAUNCHERS)}",
        )
    # Jobs may run in other processes and on other machines: the environment goes with them.
    overrides = [*how.overrides, *in_folder("hydra.sweep.dir", sweep.path), *how.excluded]
    overrides += in_folder(f"+hydra.job.env_set.{SWEEP}", sweep.path)
    with hydra_errors():
        try:
            call_hydra(["--multirun"], overrides, [Path(path) for path in sweep.config_dirs])
        except Exception as error:
            # A launcher raises when one of its jobs was killed; the others have ended all the same.
            if all(sweep.outcome(job) is None for job in sweep.jobs):
                raise
            return Launched(str(error))
    return Launched()


LAUNCHERS: Mapping[str, Launcher] = {"basic": _basic, "joblib": _joblib, "slurm": _slurm}
