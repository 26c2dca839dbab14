"""`rra run -m`: every job runs to its end, once; the exit code says whose faults."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from command import Command, FakePipeline
from sweeping import QUICK, fail_for, seeds, states

from rra_cli.cli.sweep import lay_out
from rra_cli.config import catalog
from rra_cli.config.compose import composed
from rra_cli.config.overrides import check
from rra_cli.core import signals, sweepdir
from rra_cli.errors import EXIT_INTERRUPTED, EXIT_RESUMABLE, UserError


def test_all_jobs_run_and_each_has_its_own_folder(rra: Command, pipeline: FakePipeline) -> None:
    assert rra("run", "-m", "experiment=quickstart", "seed=range(3)", "model=mlp,convnet_small") == 0
    assert sorted(seeds(pipeline)) == [0, 0, 1, 1, 2, 2]
    (folder,) = rra.sweeps
    assert re.fullmatch(r"quickstart_[0-9a-f]{8}", folder.name)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    assert names == sorted(f"seed={seed},model={model}" for seed in range(3) for model in ("mlp", "convnet_small"))
    assert "Sweep of 6 jobs" in rra.out
    assert str(folder) in rra.out
    assert "job 5: seed=2 model=convnet_small" in rra.err
    assert rra.folders == []


def test_all_jobs_are_known_before_the_first_starts(rra: Command, pipeline: FakePipeline) -> None:
    seen = []
    pipeline.before = lambda experiment, folder: seen.append(sweepdir.read(folder.parent))
    assert rra(*QUICK, "seed=3,1", "model=mlp,convnet_small", "method.epochs=1") == 0
    first = seen[0]
    assert [job.name for job in first.jobs] == [
        "seed=3 model=mlp",
        "seed=3 model=convnet_small",
        "seed=1 model=mlp",
        "seed=1 model=convnet_small",
    ]
    assert [job.number for job in first.jobs] == [0, 1, 2, 3]
    assert "++method.epochs=1" in first.jobs[2].overrides
    assert first.experiment == "quickstart"
    assert first.command == "rra run -m +experiment=quickstart seed=3,1 model=mlp,convnet_small method.epochs=1"
    assert all(sweep == first for sweep in seen)


def test_jobs_are_called_as_their_folders_are() -> None:
    """Single keys by alphabet, then options, whatever the order on the command line."""
    asked = ["+experiment=quickstart", "model=mlp,convnet_small", "seed=0,1", "method.epochs=1,2"]
    checked = check(asked, catalog.options([]), sweep=True)
    first, _ = composed(next(iter(checked.jobs())), [])
    jobs = lay_out(checked, [], first, "quickstart", "rra run -m").jobs
    assert jobs[0].folder == "method.epochs=1,seed=0,model=mlp"
    assert [job.name.replace(" ", ",") for job in jobs] == [job.folder for job in jobs]
    assert next(iter(checked.jobs()))[1] == "model=mlp", "the control: typed in another order"


def test_what_is_finished_does_not_run_again(rra: Command, pipeline: FakePipeline) -> None:
    pipeline.act = fail_for({1: RuntimeError("a bug")})
    assert rra(*QUICK, "seed=range(3)") == 1
    pipeline.runs.clear()
    pipeline.act = lambda *_: None
    assert rra(*QUICK, "seed=range(3)") == 0
    assert seeds(pipeline) == [1]
    assert "2 of 3 jobs are done already" in rra.err
    assert set(states(rra.sweeps[0]).values()) == {"done"}
    pipeline.runs.clear()
    assert rra(*QUICK, "seed=range(3)") == 0
    assert seeds(pipeline) == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("status.json", lambda text: text.replace('"done"', '"interrupted"')),
        ("provenance.json", lambda text: re.sub(r'"rra": "[^"]*"', '"rra": "0.0.1"', text)),
        ("provenance.json", lambda text: "{"),
    ],
)
def test_what_is_not_finished_by_this_version_runs_again(
    name: str, change, rra: Command, pipeline: FakePipeline
) -> None:
    assert rra(*QUICK, "seed=0,1") == 0
    path = rra.sweeps[0] / "seed=1" / name
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before
    pipeline.runs.clear()
    assert rra(*QUICK, "seed=0,1") == 0
    assert seeds(pipeline) == [1]


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
    assert rra(*QUICK, "seed=0,1,2") == code
    assert seeds(pipeline) == [0, 1, 2]
    (folder,) = rra.sweeps
    for seed in range(3):
        job = folder / f"seed={seed}"
        status = json.loads((job / "status.json").read_text())
        bug = seed in faults and not isinstance(faults[seed], UserError)
        assert status["state"] == ("failed" if seed in faults else "done")
        assert ("Traceback" in status["traceback"]) == bug
        log = (job / "run.log").read_text()
        assert ("Traceback" in log) == bug
        assert ("mend it" in log) == (str(faults.get(seed)) == "mend it")


def test_a_fault_before_the_run_folder_is_entered_is_recorded_as_well(rra: Command, pipeline: FakePipeline) -> None:
    pipeline.before = fail_for({1: UserError("no data")})
    assert rra(*QUICK, "seed=0,1,x") == 2
    (folder,) = rra.sweeps
    assert states(folder) == {"seed=0": "done", "seed=1": "failed", "seed=x": "failed"}
    assert "no data" in (folder / "seed=1" / "run.log").read_text()
    assert "expected an integer, got 'x'" in (folder / "seed=x" / "run.log").read_text()
    assert re.search(r"1 seed=1 +failed .*no data", rra.out)


def test_a_fault_of_all_jobs_stops_the_sweep_before_it_begins(rra: Command, pipeline: FakePipeline) -> None:
    for faulty in ("method.epochs=ten", "modle=3", "model=mlp,mpl", "dataset.n_sampels=1,2", "seed=3"):
        assert rra(*QUICK, "seed=0,1", faulty) == 2
    assert "seed: given twice" in rra.err
    assert pipeline.runs == []
    assert not rra.outputs.exists()


@pytest.mark.parametrize(
    ("interruption", "code"),
    [(KeyboardInterrupt(), EXIT_INTERRUPTED), (signals.Interrupted(signals.TERM), EXIT_RESUMABLE)],
)
def test_a_signal_ends_the_sweep(
    interruption: KeyboardInterrupt, code: int, rra: Command, pipeline: FakePipeline
) -> None:
    pipeline.act = fail_for({1: interruption})
    assert rra(*QUICK, "seed=0,1,2") == code
    assert seeds(pipeline) == [0, 1]
    assert [re.sub(" +", " ", line.strip()) for line in rra.out.splitlines() if "seed=" in line][
        2
    ] == "2 seed=2 waiting"
    assert states(rra.sweeps[0]) == {"seed=0": "done", "seed=1": "interrupted"}
    pipeline.act = lambda *_: None
    assert rra(*QUICK, "seed=0,1,2") == 0
    assert seeds(pipeline) == [0, 1, 1, 2]


def test_one_job_by_its_number(rra: Command, pipeline: FakePipeline) -> None:
    """What array tasks call; the folder is the sweep's, and its outcome is the exit code."""
    pipeline.act = fail_for({1: UserError("mend it")})
    assert rra(*QUICK, "seed=0,1,2") == 2
    (folder,) = rra.sweeps
    pipeline.runs.clear()
    assert rra("job", str(folder), "1") == 2
    assert rra("job", str(folder), "0") == 0
    assert seeds(pipeline) == [1], "job 0 is done already"
    assert "job 0: seed=0 is done already" in rra.err
    pipeline.act = lambda *_: None
    assert rra("job", str(folder), "1") == 0
    assert states(folder)["seed=1"] == "done"
    assert rra("job", str(folder), "7") == 2
    assert "has no job 7; it has 0 to 2" in rra.err
    assert rra("job", str(folder)) == 2
    assert "a sweep's folder and the number of a job are expected" in rra.err
    assert rra("job", str(folder / "seed=0"), "0") == 2
    assert "cannot be read" in rra.err


def test_a_sweep_json_may_not_say_what_a_command_line_may_not(rra: Command, pipeline: FakePipeline) -> None:
    assert rra(*QUICK, "seed=0,1") == 0
    path = rra.sweeps[0] / sweepdir.SWEEP
    record = json.loads(path.read_text())
    record["jobs"][1]["overrides"].append("hydra.callbacks.x._target_=os.mkdir")
    path.write_text(json.dumps(record))
    (rra.sweeps[0] / "seed=1" / "status.json").unlink()
    pipeline.runs.clear()
    assert rra("job", str(rra.sweeps[0]), "1") == 2
    assert "a configuration names no code" in rra.err
    record["jobs"][1]["folder"] = "../../elsewhere"
    path.write_text(json.dumps(record))
    assert rra("job", str(rra.sweeps[0]), "1") == 2
    assert "must lie inside of the sweep's" in rra.err
    assert pipeline.runs == []


@pytest.mark.long
def test_a_launcher_of_hydra_runs_the_same_jobs(
    rra: Command, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As one that was installed: Hydra composes, names the folders and calls the jobs. Here its own basic one."""
    monkeypatch.setattr("rra_cli.cli.launchers.LAUNCHERS", {})
    pipeline.act = fail_for({1: UserError("mend it")})
    arguments = [*QUICK, "seed=0,1", "model=mlp,convnet_small", f"hydra.sweep.dir={tmp_path / 'ä b'}"]
    assert rra(*arguments) == 2
    assert seeds(pipeline) == [0, 0, 1, 1]
    found = {name: state for name, state in states(tmp_path / "ä b").items() if "seed=1" in name}
    assert found == {"seed=1,model=mlp": "failed", "seed=1,model=convnet_small": "failed"}
    pipeline.act = lambda *_: None
    assert rra(*arguments) == 0
    assert seeds(pipeline) == [0, 0, 1, 1, 1, 1], "those that are done end at once"


def test_a_launcher_that_refuses_leaves_nothing_behind(rra: Command, pipeline: FakePipeline) -> None:
    refused = [*QUICK, "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=0"]
    assert rra(*refused) == 2
    assert "n_jobs" in rra.err
    assert not rra.outputs.exists()
    assert rra(*QUICK, "seed=0,1") == 0
    assert rra(*refused) == 0, "nothing is missing"
    (rra.sweeps[0] / "seed=1" / "status.json").unlink()
    assert rra(*refused) == 2
    assert states(rra.sweeps[0]) == {"seed=0": "done"}, "what was there stays"


def test_the_environment_is_left_as_it_was(rra: Command, pipeline: FakePipeline) -> None:
    inside = []
    pipeline.before = lambda experiment, folder: inside.append(os.environ.get("RRA_SWEEP"))
    assert rra(*QUICK, "seed=0") == 0
    assert inside == [str(rra.sweeps[0])]
    assert "RRA_SWEEP" not in os.environ
    assert rra("run", "+experiment=quickstart") == 0
    assert inside[-1] is None
