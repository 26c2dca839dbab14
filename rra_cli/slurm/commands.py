"""SLURM's commands: called without a shell and without what a job around us left in the environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping

# Of an outer job: its size and limits would become those of the jobs that are submitted from inside of it.
_OURS = ("SLURM_CONF", "SLURM_JWT")
_FORMATS = ("SLURM_", "SQUEUE_", "SACCT_", "SINFO_")
# Of a launcher or of torchrun around us: a job that is submitted is nobody's rank and works for no other sweep.
_RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
_LAUNCHERS = ("RRA_SWEEP", "RRA_SWEEP_HELD", "RRA_JOBS_AT_A_TIME")


class SlurmError(Exception):
    """A command of SLURM failed; the text is what it said."""


def available(*names: str) -> bool:
    """Whether these commands are on this machine."""
    return all(shutil.which(name) is not None for name in names)


def environment(outer: Mapping[str, str]) -> dict[str, str]:
    """The user's environment for SLURM's commands, and for the jobs that they submit.

    `SBATCH_*` stays: what rra has no field for can be said there (`SBATCH_RESERVATION`).
    """
    dropped = (*_RANKS, *_LAUNCHERS)
    kept = {
        name: value
        for name, value in outer.items()
        if name in _OURS or not (name.startswith(_FORMATS) or name in dropped)
    }
    # Lists of array indices are abbreviated otherwise.
    return {**kept, "SLURM_BITSTR_LEN": "0"}


def call(name: str, *arguments: str, timeout: float = 60.0) -> str:
    """What the command prints. Raises `SlurmError` where it fails, is not there or does not answer."""
    try:
        done = subprocess.run(
            [name, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=environment(os.environ),
            start_new_session=True,  # Ctrl-C is ours to handle
        )
    except FileNotFoundError:
        raise SlurmError(f"there is no command {name} here") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{name} gave no answer within {timeout:g} s") from None
    except OSError as error:
        raise SlurmError(f"{name} cannot be started: {error.strerror}") from None
    if done.returncode != 0:
        raise SlurmError(_reason(name, done.stderr) or f"{name} ended with code {done.returncode}")
    return done.stdout


def _reason(name: str, said: str) -> str:
    """Its complaint in one line, without its name in front of each."""
    lines = [re.sub(rf"^{re.escape(name)}: (error: |fatal: )?", "", line.strip()) for line in said.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line))
