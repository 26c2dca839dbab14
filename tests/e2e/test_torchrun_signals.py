"""A training of several processes that is asked to end: saved by all together, resumable, the same bits in the end.

By torchrun, which passes on what it gets, and as SLURM's srun starts and signals processes, each on its own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.name == "nt", reason="POSIX signals")]

COMMAND = [
    *("run", "dataset=digits", "dataset.train_size=300", "dataset.n_samples=20", "dataset.splits=[test]", "model=mlp"),
    *("model.width=16", "neighbors.k=3", "runtime.threads=1", "runtime.progress=lines", "metrics=nncs"),
    *("method=moco_v2", "method.queue=200", "method.projector=[16,8]", "augment=rra", "method.batch_size=20"),
    *("method.epochs=25", "method.ranks=2"),
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
NAMES = ("training.jsonl", "tables/layers.csv", "tables/metrics.csv")


def start(command: Sequence[str], root: Path, run: str = "run", **environment: str) -> subprocess.Popen[str]:
    """In a process group of its own, as a terminal's or SLURM's."""
    return subprocess.Popen(
        [*command, "-m", "rra_cli", *COMMAND, f"hydra.run.dir={root / run}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, "RRA_OUTPUTS": str(root), **environment},
        start_new_session=True,
    )


def start_by_srun(root: Path, run: str = "run") -> list[subprocess.Popen[str]]:
    """Two processes that nothing stands above, with the variables that the sbatch script in the documentation sets."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": "2"}
    return [start([sys.executable], root, run, RANK=str(rank), LOCAL_RANK=str(rank), **where) for rank in range(2)]


def wait_for_a_save(root: Path) -> None:
    deadline = time.monotonic() + 90
    while not list(root.glob("store/train/*.work/*/resume.previous.pt")):
        assert time.monotonic() < deadline, "no training began"
        time.sleep(0.02)


def status(root: Path, run: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((root / run / "status.json").read_text())
    return found


def results(root: Path, run: str = "run") -> list[bytes]:
    weights = sorted(root.glob("store/train/*/*/weights.pt"))
    assert weights
    return [path.read_bytes() for path in (*(root / run / name for name in NAMES), *weights)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    root = tmp_path_factory.mktemp("undisturbed")
    whole = start(TORCHRUN, root)
    _, err = whole.communicate(timeout=200)
    assert whole.returncode == 0, err
    return results(root)


@pytest.mark.parametrize(
    "how",
    [
        "SIGTERM",
        pytest.param("SIGUSR2", marks=pytest.mark.stress),
        "Ctrl-C",
        pytest.param("first process alone", marks=pytest.mark.stress),
    ],
)
def test_torchrun_is_asked_to_end(how: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    command = TORCHRUN
    if how == "SIGUSR2":
        told = subprocess.run([*TORCHRUN, "--help"], capture_output=True, text=True, env=ENVIRONMENT).stdout
        if "--signals-to-handle" not in told:
            pytest.skip("this torchrun passes no SIGUSR2 on")
        command = [*TORCHRUN, "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR2"]
    run = start(command, tmp_path, "first")
    wait_for_a_save(tmp_path)
    if how == "Ctrl-C":
        os.killpg(run.pid, signal.SIGINT)
    elif how == "first process alone":
        os.kill(int(status(tmp_path, "first")["pid"]), signal.SIGUSR2)
    else:
        run.send_signal(getattr(signal, how))
    _, err = run.communicate(timeout=60)
    assert run.returncode != 0, "torchrun has codes of its own"
    found = status(tmp_path, "first")
    expected = {"Ctrl-C": "SIGINT", "first process alone": "SIGUSR2"}.get(how, how)
    assert found["state"] == "interrupted", err
    assert found["message"] == f"ended by {expected}; the same command again goes on where it stopped"
    assert found["traceback"] == ""
    if how in ("SIGTERM", "first process alone"):  # the others would go on in the same way
        again = start(TORCHRUN, tmp_path)
        _, err = again.communicate(timeout=200)
        assert again.returncode == 0, err
        assert "begins anew" not in err
        assert results(tmp_path) == request.getfixturevalue("undisturbed")


def test_srun_signals_every_process(tmp_path: Path, undisturbed: list[bytes]) -> None:
    runs = start_by_srun(tmp_path, "first")
    wait_for_a_save(tmp_path)
    for run in runs:
        run.send_signal(signal.SIGUSR2)
    said = [run.communicate(timeout=60)[1] for run in runs]
    assert [run.returncode for run in runs] == [75, 75], said
    assert status(tmp_path, "first")["state"] == "interrupted"
    again = start_by_srun(tmp_path)
    said = [run.communicate(timeout=200)[1] for run in again]
    assert [run.returncode for run in again] == [0, 0], said
    assert results(tmp_path) == undisturbed
