"""What a real SLURM (22.05) printed in the formats that we ask for, and a stand-in for its commands that prints it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

# Arrays 16 (four tasks of a minute), 17 (cancelled while its first of six ran), 22 (too much memory), 23 (node down).
SQUEUE = """\
17|4|CANCELLED|node2|recorded-2|None
17|N/A|CANCELLED||recorded-2|JobArrayTaskLimit
16|0|COMPLETED|node1|recorded-1|None
16|3|COMPLETED|node1|recorded-1|None
16|1|FAILED|node1|recorded-1|NonZeroExitCode
22|0|FAILED|node1|recorded-3|NonZeroExitCode
23|0|NODE_FAIL|node2|recorded-4|NodeDown
23|1|RUNNING|node2|recorded-4|None
16|2|TIMEOUT|node1|recorded-1|TimeLimit
"""
WAITING = """\
17|5|PENDING||recorded-2|JobArrayTaskLimit
17|6|PENDING||recorded-2|JobArrayTaskLimit
16|2|RUNNING|node1|recorded-1|None
"""
SACCT = """\
8|wrap|COMPLETED|0:0|node2
10|wrap|CANCELLED by 0|0:0|None assigned
16_0|recorded-1|COMPLETED|0:0|node1
16_1|recorded-1|FAILED|3:0|node1
16_2|recorded-1|TIMEOUT|0:0|node1
17_4|recorded-2|CANCELLED by 0|0:0|node2
17|recorded-2|CANCELLED by 0|0:0|None assigned
22_0|recorded-3|FAILED|9:0|node1
23_0|recorded-4|NODE_FAIL|0:0|node2
23_1|recorded-4|RUNNING|0:0|node2
"""
# A preempted and a requeued task with all starts of theirs (--duplicates), the last of which counts.
STARTS = """\
5_0|b.sh|REQUEUED|0:0|node1
6_1|a.sh|PREEMPTED|0:0|node2
5_0|b.sh|RUNNING|0:0|node1
6_1|a.sh|COMPLETED|0:0|node2
"""
SINFO = """\
local*|up|1-00:00:00|1|4|19284|gpu:test:2
local*|up|1-00:00:00|1|4|19284|(null)
spare|up|1:00:00|1|4|19284|(null)
"""
CONFIG = """\
MaxArraySize            = 1001
SLURM_VERSION           = 22.05.8
"""


class Stand:
    """Commands that note how they were called and print what lies beside them; `NAME.fails` is printed as an error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("sbatch", "squeue", "sacct", "scontrol", "sinfo"):
            path = folder / name
            path.write_text(
                f'#!/bin/bash\nprintf "%s\\n" "{name} $*" >> {folder}/calls\nenv > {folder}/{name}.env\n'
                f"if [ -f {folder}/{name}.fails ]; then cat {folder}/{name}.fails >&2; exit 1; fi\n"
                f"cat {folder}/{name}.says 2>/dev/null; exit 0\n"
            )
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self.says("scontrol", CONFIG)

    def says(self, name: str, text: str) -> None:
        """From now on the command prints this."""
        (self.folder / f"{name}.fails").unlink(missing_ok=True)
        (self.folder / f"{name}.says").write_text(text)

    def fails(self, name: str, text: str) -> None:
        """From now on the command fails with this."""
        (self.folder / f"{name}.fails").write_text(text)

    def calls(self, name: str) -> list[str]:
        """The arguments of all calls of a command."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]

    def environment(self, name: str) -> dict[str, str]:
        """That of the last call of a command."""
        return dict(
            line.split("=", 1) for line in (self.folder / f"{name}.env").read_text().splitlines() if "=" in line
        )


def stand_in(folder: Path, patch: Callable[[str, str], None]) -> Stand:
    """Puts the stand-in in front of all commands. patch: sets an environment variable."""
    folder.mkdir()
    patch("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return Stand(folder)


def without_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves no command of SLURM's."""
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
