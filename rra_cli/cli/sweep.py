"""`rra run -m`: all jobs of a sweep run to their end, whatever happens to some of them; a second time, what is missing.

A sweep is laid out first: its folder, named by what is computed, and `sweep.json` in it with every job, its overrides
and its run folder. Launchers are then handed the jobs that are not finished.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rra_cli import __version__
from rra_cli.cli import job as jobs
from rra_cli.cli.hydra_call import hydra_errors
from rra_cli.cli.launchers import Launch, launch
from rra_cli.cli.status_table import job_rows, sweep_table
from rra_cli.config.bind import bind
from rra_cli.config.compose import composed
from rra_cli.config.experiment import Runtime, outputs_root
from rra_cli.config.overrides import Checked
from rra_cli.config.resolvers import job_folder
from rra_cli.console import make_reporter, show
from rra_cli.core import files, signals
from rra_cli.core.hashing import hash_text
from rra_cli.core.lease import LeaseHeldError
from rra_cli.core.runstate import RunState, Watcher
from rra_cli.core.spec import canonical_json
from rra_cli.core.sweepdir import Sweep, SweepJob, is_sweep
from rra_cli.errors import EXIT_BUG, EXIT_OK, EXIT_RESUMABLE, EXIT_USER, ConfigError, UserError

SWEEPS = "sweeps"
OURS = "${rra.job_folder:${hydra.job.override_dirname}}"


def sweep(checked: Checked, config_dirs: Sequence[Path], first: Any, name: str) -> int:
    """Runs what is missing of the sweep and gives the exit code: 1 if any fault was ours, else 2 if any was the
    user's, else 75 if a job was interrupted, else 0.

    first: the composed configuration of the first job, name: of the experiment. Raises `UserError` where the folder is
    in use or two jobs would share one, `Interrupted` where a signal ended the sweep.
    """
    _refuse_equal_values(checked)
    laid_out = lay_out(checked, config_dirs, first, name)
    plain = {key: value for key, value in _plain(first).items() if key == "runtime"}
    return carry_out(laid_out, str(first.hydra.runtime.choices["hydra/launcher"]), _launch(checked, first, plain))


def lay_out(checked: Checked, config_dirs: Sequence[Path], first: Any, name: str) -> Sweep:
    """The sweep with all its jobs; nothing is written yet."""
    overrides = list(checked.jobs())
    differs = [[text.lstrip("+~") for text in checked.differing(texts)] for texts in overrides]
    with hydra_errors():
        folders = _folders(checked, overrides, config_dirs, str(first.hydra.sweep._get_node("subdir")))
        given = first.hydra.sweep.dir
    found = tuple(
        SweepJob(number, folder, tuple(texts), tuple(words))
        for number, (folder, texts, words) in enumerate(zip(folders, overrides, differs, strict=True))
    )
    identity = hash_text(canonical_json({"config": _unresolved(first), "jobs": sorted(differs)}))
    default = outputs_root() / SWEEPS / f"{name.replace('/', '-')}_{identity[:8]}"
    return Sweep(
        path=Path(given).expanduser().absolute() if given else default,
        experiment=name,
        identity=identity,
        command=typed(),
        cwd=str(Path.cwd()),
        rra=__version__,
        launcher=str(first.hydra.runtime.choices["hydra/launcher"]),
        config_dirs=tuple(str(folder.absolute()) for folder in config_dirs),
        jobs=found,
    )


def carry_out(laid_out: Sweep, launcher: str, how: Launch) -> int:
    """Writes `sweep.json`, launches what is not finished, and shows how all jobs ended."""
    reporter = make_reporter(how.runtime.progress)
    files.make_folder(laid_out.path)
    lease = laid_out.lease()
    try:
        lease.acquire(reporter.note, wait=False)
    except LeaseHeldError as error:
        raise UserError(
            f"the sweep {laid_out.path} is being run by {error.owner}",
            f"`rra status {laid_out.path}` shows it; another sweep needs another hydra.sweep.dir",
        ) from error
    try:
        with signals.handled():
            written = laid_out.write()
            missing = [job for job in written.jobs if not _is_finished(written, job)]
            for job in missing:
                written.forget(job)
            reporter.note(f"sweep folder: {written.path}")
            if len(missing) < len(written.jobs):
                reporter.note(f"{len(written.jobs) - len(missing)} of {len(written.jobs)} jobs are done already")
            problem = None
            try:
                problem = launch(launcher, written, missing, how, reporter)
            except KeyboardInterrupt:
                _show(written, Watcher())
                raise
    finally:
        lease.dissolve()
        lease.stop()
    states = _show(written, Watcher())
    if problem is not None:
        show(f"the launcher said: {problem}")
    codes = {_code(written, job, state) for job, state in zip(written.jobs, states, strict=True)}
    return next((code for code in (EXIT_BUG, EXIT_USER, EXIT_RESUMABLE) if code in codes), EXIT_OK)


def typed() -> str:
    """The command as it was typed, for the shell."""
    name = Path(sys.argv[0]).name
    start = ["rra"] if name in ("rra", "__main__.py") else [sys.executable, "-m", "rra_cli"]
    return shlex.join([*start, *jobs.typed_arguments()])


def _show(sweep: Sweep, watcher: Watcher) -> list[RunState]:
    states = [watcher.look_at(sweep, job) for job in sweep.jobs]
    show(sweep_table(f"Sweep of {len(sweep.jobs)} jobs", job_rows(sweep, states)))
    show(str(sweep.path))
    return states


def _code(sweep: Sweep, job: SweepJob, state: RunState) -> int:
    """What the end of a job means: one that left no word was killed, or never began."""
    outcome = sweep.outcome(job)
    if state.state == "done":
        return EXIT_OK
    if state.state == "interrupted":
        return EXIT_RESUMABLE
    return EXIT_BUG if outcome is None else outcome.code


def _is_finished(sweep: Sweep, job: SweepJob) -> bool:
    """Whether its run folder holds the finished run of what the job would compute now."""
    folder = sweep.folder(job)
    if Watcher().look(folder).state != "done":
        return False
    try:
        if job.source is not None:
            from rra_cli.cli.again import configuration

            return jobs.finished(folder, configuration(Path(job.source)).recorded)
        config, name = composed(job.overrides, [Path(path) for path in sweep.config_dirs])
        return jobs.finished(folder, jobs.recorded({"experiment": name, **_plain(config)}))
    except (UserError, KeyError, TypeError):
        return False  # the job says what is wrong


def _launch(checked: Checked, first: Any, runtime: dict[str, Any]) -> Launch:
    from omegaconf import OmegaConf

    fields: Any = OmegaConf.to_container(first.hydra.launcher)
    try:
        settings = bind({**_plain(first)}).runtime
    except UserError:
        settings = Runtime()  # a swept value spoils the first job, which will say so
    return Launch(settings, {str(key): value for key, value in fields.items()}, checked.overrides)


def _folders(checked: Checked, overrides: list[list[str]], config_dirs: Sequence[Path], subdir: str) -> list[str]:
    """The run folders of the jobs, relative to the sweep's: as Hydra names them.

    Raises `UserError` where two jobs would share one or one lies elsewhere.
    """
    common = sorted({text.lstrip("+~").partition("=")[0] for text in checked.overrides} - checked.swept.keys())
    ours = subdir == OURS and not any("hydra.job.config.override_dirname" in text for text in checked.overrides)
    names = []
    for number, texts in enumerate(overrides):
        if ours:
            # What Hydra's override_dirname is, without composing every job for it.
            names.append(job_folder(",".join(sorted(checked.differing(texts)))))
        else:
            names.append(_composed_folder(texts, common, number, config_dirs))
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"two jobs of the sweep would share the folder {name!r}",
                "let hydra.sweep.subdir name what differs, or leave it out",
            )
    return names


def _composed_folder(texts: Sequence[str], common: Sequence[str], number: int, config_dirs: Sequence[Path]) -> str:
    from omegaconf import open_dict

    # Folders are named by what differs from job to job.
    exclude = f"++hydra.job.config.override_dirname.exclude_keys={json.dumps(common)}"
    given = any("override_dirname.exclude_keys" in text for text in texts)
    config, _ = composed([*texts, *([] if given else [exclude])], config_dirs)
    with open_dict(config):
        config.hydra.job.num, config.hydra.job.id = number, f"job_{number}"
    name = str(config.hydra.sweep.subdir)
    try:
        return SweepJob(number, name).folder
    except ValueError as error:
        raise UserError(str(error), "set hydra.sweep.subdir to a relative path") from None


def _refuse_equal_values(checked: Checked) -> None:
    """The same value twice would be two jobs in one folder."""
    for key, values in checked.swept.items():
        if len(set(values)) < len(values):
            raise ConfigError([f"{key}: a value is given twice in the sweep"], "every job needs its own folder")


def _plain(config: Any) -> dict[str, Any]:
    """The resolved configuration without Hydra's node; empty where it cannot be resolved."""
    from omegaconf import OmegaConf

    keys = [key for key in config if key != "hydra"]
    return jobs.plain(OmegaConf.masked_copy(config, keys))


def _unresolved(config: Any) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]))


__all__ = ["carry_out", "is_sweep", "lay_out", "sweep", "typed"]
