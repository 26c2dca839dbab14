"""A damaged store, a disk that refuses, clocks that jump, machines that die: results are whole, or it is said why."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BREAKING = Path(__file__).with_name("breaking.py")


# Kind -> how many faults are tried in the short run, and in the long one.
CASES = {"damaged": (7, 140), "refusing": (3, 60), "limited": (1, 4), "clock": (1, 4), "machine": (1, 20)}


def breaking(folder: Path, seed: int, cases: dict[str, int], prefix: tuple[str, ...] = ()) -> None:
    done = subprocess.run(
        [
            *prefix,
            sys.executable,
            str(BREAKING),
            str(folder / "work"),
            str(seed),
            *(f"{k}={n}" for k, n in cases.items()),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outcome = json.loads(done.stdout.splitlines()[-1])
    for kind, found in outcome.items():
        print(f"{kind}: {len(found['tried'])} tried, ended {found['ended']}")
        assert found["problems"] == []
        assert len(found["tried"]) >= cases[kind]
    assert outcome.keys() == cases.keys()


def test_some_faults_of_every_kind_are_mended_or_named(tmp_path: Path) -> None:
    breaking(tmp_path, 0, {kind: few for kind, (few, _) in CASES.items()})


@pytest.mark.long
@pytest.mark.parametrize("kind", CASES)
def test_faults_are_detected_and_mended_or_named(kind: str, tmp_path: Path) -> None:
    breaking(tmp_path, 1, {kind: CASES[kind][1]})


def _as_one_who_may_mount(folder: Path) -> tuple[str, ...] | None:
    """What to put before a command so that it may mount a file system of its own; None where nobody lets us."""
    trial = f"mount -t tmpfs -o size=1m tmpfs {folder} && umount {folder}"
    for prefix in (("unshare", "-m"), ("unshare", "-rm")):
        if (
            shutil.which("unshare")
            and subprocess.run([*prefix, "sh", "-c", trial], capture_output=True).returncode == 0
        ):
            return prefix
    return None


@pytest.mark.parametrize("cases", [1, pytest.param(25, marks=pytest.mark.long)])
def test_a_disk_that_is_full_and_one_that_is_read_only(tmp_path: Path, cases: int) -> None:
    (tmp_path / "mounted").mkdir()
    prefix = _as_one_who_may_mount(tmp_path / "mounted")
    if prefix is None:
        pytest.skip("no file system may be mounted here; the refusals above stand for it")
    breaking(tmp_path, 0, {"full": cases}, prefix)
