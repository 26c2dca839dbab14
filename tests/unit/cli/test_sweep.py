"""`rra run -m`: every job runs to its end, and the exit code says whose faults there were."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command import Command, FakePipeline

from rra_cli.config.experiment import Experiment
from rra_cli.config.resolvers import LONGEST, job_folder
from rra_cli.errors import UserError


def fail_for(faults: dict[int, BaseException]):
    def act(experiment: Experiment, folder: Path) -> None:
        if experiment.seed in faults:
            raise faults[experiment.seed]

    return act


def seeds(pipeline: FakePipeline) -> list[int]:
    return [experiment.seed for experiment, _, _ in pipeline.runs]


def test_all_jobs_run_and_each_has_its_own_folder(rra: Command, pipeline: FakePipeline) -> None:
    assert rra("run", "-m", "experiment=quickstart", "seed=range(3)", "model=mlp,convnet_small") == 0
    assert sorted(seeds(pipeline)) == [0, 0, 1, 1, 2, 2]
    (folder,) = rra.folders
    assert re.fullmatch(r"\d\d-\d\d-\d\d-\d{6}_quickstart_sweep", folder.name)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    assert names == sorted(f"seed={seed},model={model}" for seed in range(3) for model in ("mlp", "convnet_small"))
    assert "Sweep of 6 jobs" in rra.out
    assert str(folder) in rra.out
    assert "job 5: " in rra.err


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ({}, 0),
        ({0: UserError("mend it")}, 2),
        ({0: RuntimeError("a bug")}, 1),
        ({0: UserError("mend it"), 1: RuntimeError("a bug")}, 1),
        ({0: RuntimeError("a bug"), 1: UserError("mend it")}, 1),
        ({2: SystemExit(0)}, 1),
    ],
)
def test_faults_of_some_jobs_do_not_stop_the_others(
    faults: dict[int, BaseException], code: int, rra: Command, pipeline: FakePipeline
) -> None:
    pipeline.act = fail_for(faults)
    assert rra("run", "-m", "+experiment=quickstart", "seed=0,1,2") == code
    assert seeds(pipeline) == [0, 1, 2]
    (folder,) = rra.folders
    for seed in range(3):
        job = folder / f"seed={seed}"
        state = json.loads((job / "status.json").read_text())["state"]
        assert state == ("failed" if seed in faults else "done")
        log = (job / "run.log").read_text()
        assert ("Traceback" in log) == (seed in faults and not isinstance(faults[seed], UserError))
        assert ("mend it" in log) == (str(faults.get(seed)) == "mend it")


def test_a_fault_before_the_run_folder_is_entered_is_recorded_as_well(rra: Command, pipeline: FakePipeline) -> None:
    pipeline.before = fail_for({1: UserError("no data")})
    assert rra("run", "-m", "+experiment=quickstart", "seed=0,1,x") == 2
    (folder,) = rra.folders
    assert json.loads((folder / "seed=1" / "status.json").read_text())["state"] == "failed"
    assert "no data" in (folder / "seed=1" / "run.log").read_text()
    assert "expected an integer, got 'x'" in (folder / "seed=x" / "run.log").read_text()
    assert "refused" in rra.out


def test_a_fault_of_all_jobs_stops_the_sweep_before_it_begins(rra: Command, pipeline: FakePipeline) -> None:
    for faulty in ("method.epochs=ten", "modle=3", "model=mlp,mpl", "dataset.n_sampels=1,2"):
        assert rra("run", "-m", "+experiment=quickstart", "seed=0,1", faulty) == 2
    assert pipeline.runs == []
    assert not rra.outputs.exists()


def test_the_same_sweep_folder_again_goes_on_and_another_sweep_does_not_write_over_it(
    rra: Command, pipeline: FakePipeline, tmp_path: Path
) -> None:
    arguments = ["run", "-m", "+experiment=quickstart", "seed=0,1", f"hydra.sweep.dir={tmp_path / 'sweep ä'}"]
    assert rra(*arguments) == 0
    before = (tmp_path / "sweep ä" / "seed=0" / "config.yaml").read_bytes()
    assert rra(*arguments) == 0
    assert rra(*arguments, "method.epochs=2") == 2
    assert rra.err.count("another configuration") == 2
    assert (tmp_path / "sweep ä" / "seed=0" / "config.yaml").read_bytes() == before
    assert json.loads((tmp_path / "sweep ä" / "seed=0" / "status.json").read_text())["state"] == "done"


def test_a_value_given_twice_is_refused(rra: Command, pipeline: FakePipeline) -> None:
    assert rra("run", "-m", "+experiment=quickstart", "seed=1,1") == 2
    assert "seed: a value is given twice" in rra.err
    assert pipeline.runs == []


def test_ctrl_c_ends_the_sweep(rra: Command, pipeline: FakePipeline) -> None:
    pipeline.act = fail_for({1: KeyboardInterrupt()})
    assert rra("run", "-m", "+experiment=quickstart", "seed=0,1,2") == 130
    assert seeds(pipeline) == [0, 1]


def test_a_lost_job_is_our_fault(rra: Command, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    from rra_cli.cli import job

    written = job.files.write_json
    monkeypatch.setattr(
        "rra_cli.cli.job.files.write_json", lambda path, value: None if path.name == "1.json" else written(path, value)
    )
    assert rra("run", "-m", "+experiment=quickstart", "seed=0,1") == 1
    assert "left no word" in rra.out


def test_folder_names_are_readable_safe_and_different() -> None:
    assert job_folder("++seed=0,+experiment=quickstart,model=mlp") == "seed=0,experiment=quickstart,model=mlp"
    assert job_folder("") == "job"
    a, b = job_folder("activations.path='/a b/c'"), job_folder("activations.path='/a b'/c")
    assert a != b
    assert re.fullmatch(r"[A-Za-z0-9._=,+-]+", a)
    long = job_folder("x=" + "y" * 500)
    assert len(long) <= LONGEST + 9
    assert long != job_folder("x=" + "y" * 501)
    assert job_folder("..") not in ("", ".", "..")
