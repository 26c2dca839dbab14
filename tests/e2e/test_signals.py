"""A run that is asked to end by a signal: saved, resumable, the same results; in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.name == "nt", reason="POSIX signals")]

# A training of a few seconds, whose loss is looked at twice a second: long enough to be met in the middle.
COMMAND = [
    *("dataset=digits", "dataset.train_size=300", "dataset.n_samples=20", "dataset.splits=[test]"),
    *("model=mlp", "model.width=16", "neighbors.k=3", "runtime.threads=1", "runtime.progress=lines"),
    *("metrics=nncs", "activations.layers=[]"),
]
LONG = [*COMMAND, "method.epochs=200", "method.batch_size=4"]


def start(root: Path, folder: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "RRA_OUTPUTS": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "rra_cli", "run", *arguments, f"hydra.run.dir={root / folder}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for_training(root: Path) -> None:
    """Until a resume file lies there, which is after the first epoch."""
    deadline = time.monotonic() + 90
    while not list(root.glob("store/train/*.work/*/resume.pt")):
        assert time.monotonic() < deadline, "no training began"
        time.sleep(0.05)


def status(root: Path, folder: str) -> dict[str, str]:
    return json.loads((root / folder / "status.json").read_text())


@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGUSR2", marks=pytest.mark.stress)])
def test_a_signal_saves_and_leaves_a_run_that_goes_on(tmp_path: Path, name: str) -> None:
    run = start(tmp_path, "first", *LONG)
    wait_for_training(tmp_path)
    run.send_signal(getattr(signal, name))
    _, err = run.communicate(timeout=60)
    assert run.returncode == 75, err
    assert "the same command again resumes it" in err
    found = status(tmp_path, "first")
    assert found["state"] == "interrupted"
    assert found["message"] == f"ended by {name}; the same command again goes on where it stopped"
    assert found["traceback"] == ""
    saved = next(tmp_path.glob("store/train/*.work/*/resume.pt"))
    before = saved.stat().st_mtime_ns
    # The same command goes on: it is met again, later in the training, and ended by Ctrl-C.
    run = start(tmp_path, "second", *LONG)
    deadline = time.monotonic() + 90
    while not any(path.stat().st_mtime_ns > before for path in tmp_path.glob("store/train/*.work/*/resume.pt")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert status(tmp_path, "second")["state"] == "interrupted"


@pytest.mark.long
def test_a_stopped_run_ends_with_the_results_of_an_undisturbed_one(tmp_path: Path) -> None:
    """Ended by SIGTERM at whatever moment comes, then finished; tables and history are equal byte for byte."""
    short = [*COMMAND, "method.epochs=12", "method.batch_size=4"]
    whole = start(tmp_path / "whole", "run", *short)
    stopped = start(tmp_path / "stopped", "run", *short)
    wait_for_training(tmp_path / "stopped")
    stopped.send_signal(signal.SIGTERM)
    stopped.communicate(timeout=60)
    assert stopped.returncode in (0, 75), "0 only where it was done before the signal came"
    finished = start(tmp_path / "stopped", "run", *short)
    for process in (whole, finished):
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    names = ["training.jsonl", "tables/layers.csv", "tables/metrics.csv"]
    one, other = ([(tmp_path / root / "run" / name).read_bytes() for name in names] for root in ("whole", "stopped"))
    assert one == other
    assert status(tmp_path / "stopped", "run")["state"] == "done"


@pytest.mark.long
def test_torchrun_trains_with_two_processes(tmp_path: Path) -> None:
    """One run folder, one store, the metrics by the first process; another number of processes is refused."""
    environment = {**os.environ, "RRA_OUTPUTS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "rra_cli"]
    arguments = ["run", *COMMAND, "method.epochs=2", "method.batch_size=20", f"hydra.run.dir={tmp_path / 'run'}"]
    done = subprocess.run([*torchrun, *arguments, "method.ranks=2"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert status(tmp_path, "run")["state"] == "done"
    assert done.stdout.count("run folder:") == 1
    assert (tmp_path / "run" / "tables" / "layers.csv").exists()
    refused = subprocess.run([*torchrun, *arguments[:-1]], capture_output=True, text=True, env=environment)
    assert refused.returncode != 0
    assert "method.ranks is 1, but 2 processes were started" in refused.stderr
    alone = start(tmp_path, "alone", *COMMAND, "method.batch_size=20", "method.epochs=3", "method.ranks=2")
    _, err = alone.communicate(timeout=90)
    assert alone.returncode == 2
    assert "torchrun --nproc-per-node=2 -m rra_cli run ... method.ranks=2" in err
