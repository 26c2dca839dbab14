"""One training by several processes on two nodes, and the example script: stopped in the middle, the same tables."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster import SLURM, TINY, ended, environment, output, slurm, start, sweep_of, tables, tasks, trains, until

from rra_cli.core.runstate import Watcher

SCRIPT = Path(__file__).parents[2] / "scripts" / "rra.sbatch"
WHAT = [*TINY, "method.epochs=25", "seed=0"]
pytestmark = [pytest.mark.slurm, pytest.mark.long, pytest.mark.stress, pytest.mark.usefixtures("cluster")]


def submit(root: Path, *options: str, more: tuple[str, ...] = (), **variables: str) -> tuple[str, Path]:
    """Gives the example script to sbatch; the job's id and its run folder."""
    root.mkdir(parents=True, exist_ok=True)
    sized = ("--mem=2G", "--cpus-per-task=1", "--time=10", "--chdir", str(root), *options)
    done = subprocess.run(
        ["sbatch", "--parsable", *sized, SCRIPT, *WHAT, *more],
        env=environment(root) | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), root / "slurm" / f"rra_{done.stdout.strip()}"


def in_training(run: Path) -> Callable[[], bool]:
    def holds() -> bool:
        found = Watcher().look(run)
        return found.active and found.stage.startswith("train") and 3 < found.done < found.total

    return holds


def is_done(run: Path) -> bool:
    return Watcher().look(run).state == "done"


def said(root: Path, job: str) -> str:
    return (root / f"rra-{job}.txt").read_text()


def of_run(root: Path) -> dict[str, bytes]:
    """The tables of the one run below, by file."""
    return {name.partition("/")[2]: content for name, content in tables(root).items()}


def test_the_example_script_goes_on_in_its_folder(tmp_path: Path) -> None:
    """Told to save while it runs: it goes back into the queue. Cancelled: it does not."""
    calm = start(tmp_path / "calm", *WHAT)
    job, run = submit(tmp_path / "one")
    gone, other = submit(tmp_path / "two", more=("method.epochs=4000",))
    until(in_training(run))
    slurm("scancel", "--signal=TERM", job)
    until(in_training(other))
    slurm("scancel", gone)
    until(lambda: is_done(run))
    assert "saved; job" in said(tmp_path / "one", job)
    assert "goes into the queue again" not in said(tmp_path / "two", gone)
    assert Watcher().look(other).state == "interrupted"
    assert slurm("squeue", "--noheader", "--name=rra", f"--jobs={gone}", "--states=PD,R").strip() == ""
    code, _, err = ended(calm)
    assert code == 0, err
    assert of_run(tmp_path / "one") == of_run(tmp_path / "calm")


def test_two_processes_on_two_nodes(tmp_path: Path) -> None:
    """By the launcher, and by srun and torchrun in the script; told to save in the middle. All tables are equal."""
    ranks = ("--nodes=2", "--ntasks-per-node=1")
    root = tmp_path / "launcher"
    launched = start(root, *WHAT, "method.ranks=2", *SLURM, "hydra.launcher.nodes=2")
    until(lambda: trains(root, 0, 3))
    slurm("scancel", "--signal=USR2", tasks(root)[0].job)
    code, out, err = ended(launched)
    assert code == 0, out + err
    assert "is in the queue again" in output(root, 0)
    for name, variables in (("srun", {}), ("torchrun", {"USE_TORCHRUN": "1"})):
        job, run = submit(tmp_path / name, *ranks, **variables)
        if variables:
            until(in_training(run))
            slurm("scancel", "--signal=TERM", job)
        until(lambda run=run: is_done(run))  # type: ignore[misc]
        assert ("saved; job" in said(tmp_path / name, job)) == bool(variables)
        assert of_run(tmp_path / name) == of_run(root), name
    assert len(of_run(root)) >= 2
    (provenance,) = sweep_of(root).path.glob("*/provenance.json")
    assert '"SLURM_NTASKS": "2"' in provenance.read_text()
