"""A damaged store, a disk that refuses, clocks that jump, machines that die: results are whole, or it is said why."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from killing import Quiet
from stress import job

from rra_cli import pipeline

BREAKING = Path(__file__).with_name("breaking.py")


# Kind -> how many faults are tried in CI, and in the long run.
CASES = {"damaged": (7, 126), "refusing": (3, 60), "limited": (1, 4), "clock": (1, 4), "machine": (1, 20)}


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


def ran(root: Path) -> list[str]:
    """The smallest experiment that has every stage, run below `root`; what the store warned of."""
    warned: list[str] = []

    class Heard(Quiet):
        def warn(self, message: str) -> None:
            warned.append(message)

    pipeline.run(job(root, 0, 4), root / "run", Heard(), config={})
    return warned


def tables(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "run" / "tables").rglob("*.*")}


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "render", lambda *args, **kwargs: [])
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # which only costs time here


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_weights_with_a_flipped_bit_are_trained_again_by_the_run_that_reads_them(tmp_path: Path) -> None:
    """Control: nothing reads them, and nothing is trained, where all that is made of them is there."""
    assert ran(tmp_path) == []
    calm = tables(tmp_path)
    (weights,) = (tmp_path / "store" / "train").glob("*/epoch_0001/weights.pt")
    published = weights.read_bytes()
    flipped = bytearray(published)
    flipped[len(flipped) // 2] ^= 4
    weights.write_bytes(flipped)
    assert ran(tmp_path) == []
    for stage in ("capture", "graph", "measure"):
        shutil.rmtree(tmp_path / "store" / stage)
    (line,) = ran(tmp_path)
    assert "weights.pt has other content than was published" in line
    assert "it is built again" in line
    assert weights.read_bytes() == published
    assert tables(tmp_path) == calm


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("told", "lie"), [(b"<f4", b">f4"), (b"'shape': (", b"'shape': [")])
def test_activations_whose_header_lies_are_captured_again(tmp_path: Path, told: bytes, lie: bytes) -> None:
    """Their numbers are too many to be compared at every use; what their file says of itself is looked at."""
    ran(tmp_path)
    calm = tables(tmp_path)
    shutil.rmtree(tmp_path / "store" / "graph")
    shutil.rmtree(tmp_path / "store" / "measure")
    for path in (tmp_path / "store" / "capture").glob("*/activations.npy"):
        content = path.read_bytes()
        assert told in content
        path.write_bytes(content.replace(told, lie))
    assert all("activations.npy has other content than was published" in line for line in ran(tmp_path))
    assert tables(tmp_path) == calm


@pytest.mark.long
def test_some_faults_of_every_kind_are_mended_or_named(tmp_path: Path) -> None:
    breaking(tmp_path, 0, {kind: few for kind, (few, _) in CASES.items()})


@pytest.mark.stress
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


@pytest.mark.parametrize("cases", [pytest.param(1, marks=pytest.mark.long), pytest.param(25, marks=pytest.mark.stress)])
def test_a_disk_that_is_full_and_one_that_is_read_only(tmp_path: Path, cases: int) -> None:
    (tmp_path / "mounted").mkdir()
    prefix = _as_one_who_may_mount(tmp_path / "mounted")
    if prefix is None:
        pytest.skip("no file system may be mounted here; the refusals above stand for it")
    breaking(tmp_path, 0, {"full": cases}, prefix)
