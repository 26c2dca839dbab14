"""Sweeps with real runs in processes of their own: side by side, killed, resumed, looked at and repeated.

Three jobs of one tiny training, of which the third asks for more neighbours than there are samples.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rra_cli.__main__ import main
from rra_cli.core import sweepdir
from rra_cli.core.runstate import RunState, Watcher

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.name == "nt", reason="POSIX signals")]

# A training of some seconds, and of three jobs the third is the user's fault: of 20 samples each has 19 neighbours.
TINY = [
    *("dataset=digits", "dataset.train_size=300", "dataset.n_samples=20", "dataset.splits=[test]"),
    *("model=mlp", "model.width=16", "runtime.threads=1", "runtime.progress=lines", "metrics=nncs"),
    *("method.epochs=30", "method.batch_size=4", "neighbors.k=3,4,60"),
]
JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "RRA_DATA": ""}


@contextmanager
def outputs(root: Path) -> Iterator[None]:
    """Inside, commands of this process write below `root`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RRA_OUTPUTS", str(root))
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


def start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **ENVIRONMENT, "RRA_OUTPUTS": str(root)}
    command = [sys.executable, "-m", "rra_cli", "run", "-m", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def folder_of(root: Path) -> Path:
    (folder,) = root.glob("sweeps/*")
    return folder


def tables(folder: Path) -> dict[str, bytes]:
    """All tables of all jobs of a sweep."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("*/tables/**/*.csv"))}


def states(folder: Path, watcher: Watcher) -> list[RunState]:
    sweep = sweepdir.read(folder)
    return [watcher.look_at(sweep, job) for job in sweep.jobs]


def wait_for(holds: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def trainers(root: Path, watcher: Watcher) -> list[RunState]:
    """The jobs that are in the middle of their training, as their status says."""
    if not any((folder / "sweep.json").exists() for folder in root.glob("sweeps/*")):
        return []
    found = states(folder_of(root), watcher)
    return [each for each in found if each.active and each.stage.startswith("train") and 0 < each.done < each.total]


def hold_a_trainer(root: Path, watcher: Watcher) -> int:
    """Stops a process in the middle of its training, so that it is there when it is looked at; its number."""
    wait_for(lambda: bool(trainers(root, watcher)))
    pid = int(json.loads((trainers(root, watcher)[0].path / "status.json").read_text())["pid"])
    os.kill(pid, signal.SIGSTOP)
    return pid


def published(store: Path) -> list[str]:
    """The checkpoints and activations in a store. (Which graphs depends on which k was asked for first.)"""
    found = [*store.glob("train/**/meta.json"), *store.glob("capture/**/meta.json")]
    return sorted(path.parent.relative_to(store).as_posix() for path in found)


def trainings(folder: Path) -> int:
    """How often the training was done, in the logs of all jobs."""
    return sum(
        path.read_text().count("train mlp by supervised on digits, seed 0: done") for path in folder.glob("*/run.log")
    )


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep by Hydra's basic launcher, undisturbed."""
    root = tmp_path_factory.mktemp("calm")
    with outputs(root):
        assert main(["run", "-m", *TINY]) == 2
    return root


def test_a_failed_job_stops_no_other(calm: Path) -> None:
    found = states(folder_of(calm), Watcher())
    assert [state.state for state in found] == ["done", "done", "failed"]
    assert "60" in found[2].message
    assert {name.split("/")[0] for name in tables(folder_of(calm))} == {"neighbors.k=3", "neighbors.k=4"}
    assert trainings(folder_of(calm)) == 1


def test_side_by_side_gives_the_same_tables_and_builds_what_is_common_once(calm: Path, tmp_path: Path) -> None:
    with outputs(tmp_path):
        assert main(["run", "-m", *TINY, *JOBLIB]) == 2
    assert folder_of(tmp_path).name == folder_of(calm).name, "how it is launched is no part of what it is"
    assert tables(folder_of(tmp_path)) == tables(folder_of(calm))
    assert [state.state for state in states(folder_of(tmp_path), Watcher())] == ["done", "done", "failed"]
    assert trainings(folder_of(tmp_path)) == 1
    assert published(tmp_path / "store") == published(calm / "store")
    provenance = json.loads((folder_of(tmp_path) / "neighbors.k=3" / "provenance.json").read_text())
    assert provenance["environment"]["RRA_SWEEP"] == str(folder_of(tmp_path))
    assert provenance["environment"]["RRA_JOBS_AT_A_TIME"] == "2"
    assert provenance["command"].endswith(f"rra_cli job {folder_of(tmp_path)} 0")


def test_a_killed_sweep_goes_on_where_it_was(calm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The launcher is killed, so its jobs save and end; one of them is killed as well. Another shell sees all of it."""
    run = start(tmp_path, *TINY, *JOBLIB)
    watcher = Watcher()
    try:
        victim = hold_a_trainer(tmp_path, watcher)
        folder = folder_of(tmp_path)
        assert len(sweepdir.read(folder).jobs) == 3
        assert main(["status", str(folder), "--once"]) == 0
        shown = capsys.readouterr().out
        assert "running" in shown
        assert "2 neighbors.k=60" in shown
        os.kill(victim, signal.SIGKILL)
    finally:
        run.kill()
        run.communicate()
    wait_for(lambda: not any(state.active for state in states(folder, watcher)))
    found = states(folder, watcher)
    assert sorted(state.state for state in found)[0] == "dead"
    assert {state.state for state in found} <= {"dead", "interrupted", "waiting"}
    assert main(["status", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert f"process {victim} on " in shown
    assert "the same command runs what is missing, and nothing twice" in shown
    assert "rra run -m dataset=digits" in shown
    assert tables(folder) == {}
    # The same sweep by another launcher keeps its folder and ends with the same tables.
    with outputs(tmp_path):
        assert main(["run", "-m", *TINY]) == 2
    assert folder_of(tmp_path) == folder
    assert tables(folder) == tables(folder_of(calm))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("tables/*.csv")}
    capsys.readouterr()
    with outputs(tmp_path):
        assert main(["run", "-m", *TINY]) == 2
    assert "2 of 3 jobs are done already" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("tables/*.csv")} == before


def test_from_a_folder_alone_the_same_tables(calm: Path, tmp_path: Path) -> None:
    """With a store of its own, so that everything is computed again."""
    source = folder_of(calm) / "neighbors.k=3"
    target = tmp_path / "again"
    with outputs(tmp_path):
        assert main(["run", "--from", str(source), f"hydra.run.dir={target}"]) == 0
    ours = {path.name: path.read_bytes() for path in (target / "tables").glob("*.csv")}
    assert ours == {path.name: path.read_bytes() for path in (source / "tables").glob("*.csv")}
    assert trainings(tmp_path) == 1
    repeat = json.loads((target / "provenance.json").read_text())["repeat"]
    assert repeat == f"rra run --from {target}"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), pytest.param(signal.SIGINT, 130, marks=pytest.mark.stress)]
)
def test_a_signal_lets_all_jobs_save(number: int, code: int, calm: Path, tmp_path: Path) -> None:
    long = [*TINY[:-1], "neighbors.k=3", "seed=0,1", "method.epochs=400"]
    run = start(tmp_path, *long, *JOBLIB)
    watcher = Watcher()
    wait_for(lambda: len(trainers(tmp_path, watcher)) == 2)
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    assert run.returncode == code, err
    assert [state.state for state in states(folder_of(tmp_path), watcher)] == ["interrupted", "interrupted"]
    assert len(list(tmp_path.glob("store/train/*.work/*/resume.pt"))) == 2
    assert out.count("interrupted") == 2


def test_a_job_that_is_killed_is_lost_alone(tmp_path: Path) -> None:
    """As by the kernel, where memory runs out. The exit code says so; the same command mends it."""
    short = [*TINY[:-1], "neighbors.k=3", "seed=0,1,2"]
    run = start(tmp_path, *short, *JOBLIB)
    watcher = Watcher()
    os.kill(hold_a_trainer(tmp_path, watcher), signal.SIGKILL)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 1, err
    assert sorted(state.state for state in states(folder_of(tmp_path), watcher)) == ["dead", "done", "done"]
    assert "is gone" in out
    with outputs(tmp_path):
        assert main(["run", "-m", *short]) == 0
