"""One job, as Hydra calls it: alone, in a sweep of this process, or on another machine through a launcher."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import rra_cli.config.resolvers  # noqa: F401 - `${rra.job_folder:...}` in our config.yaml, also on other machines
from rra_cli import __version__
from rra_cli.config.bind import NO_EXPERIMENT, bind
from rra_cli.config.catalog import CONFIG_PACKAGE
from rra_cli.config.compose import CONFIG_NAME
from rra_cli.config.experiment import TRAINING_KEYS
from rra_cli.core import files, signals, sweepdir
from rra_cli.core.component import component
from rra_cli.core.reading import read_json
from rra_cli.core.rundir import RunDir
from rra_cli.core.runfiles import CONFIG, MANIFEST, OURS, PROVENANCE, STATUS, read_config, refuse_links
from rra_cli.core.spec import canonical_json
from rra_cli.core.sweepdir import Outcome, Sweep, SweepJob
from rra_cli.data.dataset import ImageDataset
from rra_cli.errors import EXIT_BUG, EXIT_OK, EXIT_USER, UserError

HYDRA_FOLDER = ".hydra"
# Set for the jobs of a sweep: its folder.
SWEEP = "RRA_SWEEP"

log = logging.getLogger("rra_cli")


# Hydra drops what its main function returns, and raising in one job would end the jobs after it.
_errors: list[BaseException] = []


@hydra.main(version_base="1.3", config_path=f"pkg://{CONFIG_PACKAGE}", config_name=CONFIG_NAME)
def hydra_main(config: DictConfig) -> None:
    """What Hydra calls once per job. Faults are recorded, not raised, so that the other jobs of a sweep run."""
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    name = str(settings.runtime.choices.get("experiment") or NO_EXPERIMENT)
    carry_out(folder, name, config, plain(config), lambda: _write_hydra(folder, config, settings))


def carry_out(
    folder: Path, name: str, config: Any, resolved: Mapping[str, Any], before: Callable[[], None] = lambda: None
) -> None:
    """Runs the experiment that a composed configuration describes, and records how it ended.

    resolved: the same configuration; empty where it cannot be, which binding then explains. before: called when
    the configuration was found to be right. A job of a sweep that is finished already is left as it is.
    """
    sweep, job = _sweep_of(folder)
    kept: dict[str, Any] = {"experiment": name, **resolved}
    try:
        # Lazy: `--cfg` and `--info` come by here too.
        from rra_cli import pipeline
        from rra_cli.reporters import make_reporter
        from rra_cli.training.ranks import check_ranks, started

        if job is not None:
            check_folder(folder)
        experiment = bind(config, name)
        kept = recorded(kept)
        reporter = make_reporter(experiment.runtime.progress)
        if job is not None:
            if finished(folder, kept):
                reporter.note(f"job {job.number}: {job.name} is done already")
                return _end(sweep, job, Outcome(EXIT_OK, str(folder)), None)
            reporter.note(f"job {job.number}: {job.name}")
        before()
        if started().size > 1:
            check_ranks(experiment.method.ranks)
        with signals.handled():
            pipeline.run(experiment, folder, reporter, config=kept)
    except (Exception, SystemExit) as error:
        # A sweep's job leaves its status and its log even if it never began; alone, nothing half-written stays.
        record(folder, kept, error, create=job is not None)
        _errors.append(error)
        _end(sweep, job, Outcome(code_of(error), str(folder), str(error) or type(error).__name__), error)
    else:
        _end(sweep, job, Outcome(EXIT_OK, str(folder)), None)


def recorded(config: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved configuration as a run folder keeps it: nothing is trained on a user's files, and the record must
    not say so.
    """
    trains = issubclass(component("dataset", config["dataset"]["name"]), ImageDataset)
    return {key: value for key, value in config.items() if trains or key not in TRAINING_KEYS}


def finished(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether the folder holds the finished run of this configuration by this version of rra."""
    try:
        if read_json(folder / STATUS)["state"] != "done":
            return False
        if (folder / MANIFEST).exists() and not (folder / "tables").is_dir():
            return False
        packages = read_json(folder / PROVENANCE)["packages"]
        return packages.get("rra") == __version__ and canonical_json(read_config(folder)) == canonical_json(config)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, UserError):
        return False


def fail(sweep: Sweep, job: SweepJob, error: BaseException) -> None:
    """Records a fault that came before the job had a configuration."""
    _end(sweep, job, Outcome(code_of(error), str(sweep.folder(job)), str(error) or type(error).__name__), error)


def forget() -> None:
    """Before a call of Hydra: what an earlier call in this process recorded is not this one's."""
    _errors.clear()


def finish_single(folder: Path) -> int:
    """After Hydra's call: raises what the job recorded, or shows what it found."""
    if _errors:
        error = _errors.pop()
        if isinstance(error, SystemExit):
            raise RuntimeError(f"the job ended by SystemExit({error.code!r})") from error
        raise error
    from rra_cli.cli.summary import show_summary

    show_summary(folder)
    return EXIT_OK


@contextmanager
def nothing_half_written(folder: Path) -> Iterator[None]:
    """Where the body fails before the run has entered its folder, what was made for it is removed again."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        if folder.is_dir() and not {path.name for path in folder.iterdir()} - {HYDRA_FOLDER}:
            files.remove(folder / HYDRA_FOLDER)
            with suppress(OSError):
                for path in made:
                    path.rmdir()
        raise


def check_folder(folder: Path) -> None:
    """Makes the run folder. Raises `UserError` where that is not possible, or where other things or links lie in it."""
    files.make_folder(folder)
    refuse_links(folder, OURS)
    if any(folder.iterdir()) and not any((folder / name).exists() for name in (CONFIG, HYDRA_FOLDER)):
        raise UserError(
            f"the run folder {folder} exists and holds other things than a run",
            "set hydra.run.dir (a sweep: hydra.sweep.dir) to a new folder",
        )


def code_of(error: BaseException) -> int:
    """The exit code that a fault means."""
    return EXIT_USER if isinstance(error, UserError) else EXIT_BUG


def record(folder: Path, config: Mapping[str, Any], error: BaseException, *, create: bool) -> None:
    """Writes the fault into the job's log and status. create: even if the job never entered its folder."""
    if not create and not (folder / CONFIG).exists():
        return
    try:
        with RunDir.enter(folder, config) as run_dir, run_dir.logging():
            if isinstance(error, UserError):
                log.error("%s", error)
            else:
                log.error("a fault of rra", exc_info=error)
            run_dir.status("failed", error=error)
    except UserError as second:
        # Not ours to write: another process or another configuration owns the folder, or the disk is full.
        if str(second) != str(error):  # else it is the fault itself, which is shown anyway
            log.warning("the fault could not be written into %s: %s", folder, second)


def _sweep_of(folder: Path) -> tuple[Sweep | None, SweepJob | None]:
    """The sweep that this process works for and its job in that folder, if it works for one."""
    if SWEEP not in os.environ:
        return None, None
    sweep = sweepdir.read(Path(os.environ[SWEEP]))
    return sweep, sweep.job_in(folder)


def _end(sweep: Sweep | None, job: SweepJob | None, outcome: Outcome, error: BaseException | None) -> None:
    """In a sweep: leaves the outcome where the launching process looks for it, and shows it."""
    if sweep is None or job is None:
        return
    from rra_cli.console import show_bug, show_error

    sweep.end(job, outcome)
    if isinstance(error, UserError):
        show_error(error)
    elif error is not None:
        show_bug(error)


def _write_hydra(folder: Path, config: DictConfig, settings: Any) -> None:
    """Hydra's record, which it would write over that of another run before anybody could object."""
    target = folder / HYDRA_FOLDER
    if (target / "overrides.yaml").exists():
        return
    files.write_text(target / "config.yaml", OmegaConf.to_yaml(config))
    files.write_text(target / "hydra.yaml", OmegaConf.to_yaml(OmegaConf.create({"hydra": settings})))
    files.write_text(target / "overrides.yaml", OmegaConf.to_yaml(settings.overrides.task))


def plain(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration; empty where it cannot be resolved, which binding then explains."""
    try:
        resolved: Any = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException:
        return {}
    return {str(key): value for key, value in resolved.items()}


def without_hydra(config: DictConfig) -> DictConfig:
    """A composed configuration as a job is handed it."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
