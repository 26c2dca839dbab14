"""`rra run -m`: all jobs of a sweep run to their end, whatever happens to some of them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from rra_cli.cli import job
from rra_cli.cli.hydra_call import call_hydra, hydra_errors, in_folder
from rra_cli.config.overrides import Checked
from rra_cli.console import make_table, show
from rra_cli.core import files
from rra_cli.errors import EXIT_BUG, EXIT_OK, EXIT_USER, ConfigError, UserError

JOBS_FOLDER = ".jobs"
_STATES = {EXIT_OK: "done", EXIT_BUG: "failed", EXIT_USER: "refused"}


def sweep(checked: Checked, config_dirs: Sequence[Path], folder: Path) -> int:
    """Runs the jobs and gives the exit code: 1 if any fault was ours, else 2 if any was the user's, else 0."""
    files.make_folder(folder)
    # One folder for every launch: outcomes of an earlier one in the same sweep folder do not count.
    outcomes = files.make_folder(folder / JOBS_FOLDER / secrets.token_hex(4))
    common = [key for key in _keys(checked.overrides) if key not in checked.swept]
    overrides = [
        *checked.overrides,
        *in_folder("hydra.sweep.dir", folder),
        # Folders are named by what differs from job to job.
        f"hydra.job.config.override_dirname.exclude_keys={json.dumps(common)}",
    ]
    # The launcher may run jobs in other processes and on other machines: the environment goes with them.
    overrides += in_folder(f"+hydra.job.env_set.{job.OUTCOMES}", outcomes)
    _refuse_equal_folders(checked)
    crash: Exception | None = None
    with hydra_errors():
        try:
            call_hydra(["--multirun"], overrides, config_dirs)
        except Exception as error:
            # A launcher raises when one of its jobs was killed; the others have ended all the same.
            if not any(outcomes.iterdir()):
                raise
            crash = error
    return _finish(folder, outcomes, checked.n_jobs, crash)


def _finish(folder: Path, outcomes: Path, n_jobs: int, crash: Exception | None) -> int:
    """The table of all jobs, and the exit code."""
    rows, codes = [], []
    for number in range(n_jobs):
        path = outcomes / f"{number}.json"
        if not path.exists():
            codes.append(EXIT_BUG)
            rows.append([number, "lost", "", "the job left no word: it was killed, or its machine went away"])
            continue
        outcome = json.loads(path.read_text(encoding="utf-8"))
        codes.append(outcome["code"])
        message = outcome["message"].splitlines()
        rows.append([number, _STATES[outcome["code"]], Path(outcome["folder"]).name, message[0] if message else ""])
    show(make_table(f"Sweep of {n_jobs} jobs", ["job", "state", "folder", "why"], rows, text_columns=4))
    if crash is not None:
        show(f"the launcher said: {crash}")
    show(str(folder))
    return EXIT_BUG if EXIT_BUG in codes else max(codes, default=EXIT_OK)


def _refuse_equal_folders(checked: Checked) -> None:
    """The same value twice would be two jobs in one folder."""
    for key, values in checked.swept.items():
        if len(set(values)) < len(values):
            raise ConfigError([f"{key}: a value is given twice in the sweep"], "every job needs its own folder")
    if not checked.swept and checked.n_jobs != 1:
        raise UserError("the sweep has no values", "give a key several values: seed=0,1,2")


def _keys(overrides: Sequence[str]) -> list[str]:
    return [text.lstrip("+~").partition("=")[0] for text in overrides]
