"""`hydra/launcher=slurm` with a SLURM that says what it is told to: what is submitted, waited for, left and refused."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from recorded import Stand, without_slurm

from rra_cli import slurm_task
from rra_cli.__main__ import main
from rra_cli.cli import slurm_run
from rra_cli.core import sweepdir
from rra_cli.core.rundir import RunDir
from rra_cli.slurm import states
from rra_cli.slurm.submission import Submission, array_name, submitted

SWEEP = ("run", "-m", "+experiment=quickstart", "hydra/launcher=slurm", "runtime.progress=lines")


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RRA_OUTPUTS", str(tmp_path / "outputs"))
    for name, value in {"ASK_EVERY": (0.05, 0.05)}.items():
        monkeypatch.setattr(states, name, value)
    for name, value in {"LOOK_EVERY": 0.02, "LATE": 0.2, "SOON": 0.1}.items():
        monkeypatch.setattr(slurm_run, name, value)
    return tmp_path / "outputs"


def folder(outputs: Path) -> Path:
    (found,) = outputs.glob("sweeps/*")
    return found


def rows(outputs: Path, states: dict[int, str], job: str = "12", number: int = 1) -> str:
    """What squeue says of the array."""
    name = array_name(folder(outputs), number)
    return "".join(f"{job}|{index}|{state}|node1|{name}|None\n" for index, state in states.items())


def test_jobs_are_submitted_as_one_array_and_left(
    outputs: Path, slurm: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.says("sbatch", "12\n")
    more = ["hydra.launcher.array_parallelism=2", "hydra.launcher.time=1:30:00", "hydra.launcher.memory=4GB"]
    assert main([*SWEEP, "seed=range(3)", "hydra.launcher.wait=false", *more]) == 0
    (call,) = slurm.calls("sbatch")
    words = shlex.split(call)
    sweep = folder(outputs)
    assert "--array=0-2%2" in words
    assert {"--time=90", "--mem=3815M", "--signal=USR2@120", "--requeue", f"--chdir={sweep}"} <= set(words)
    said = capsys.readouterr()
    assert "submitted 3 jobs as 12" in said.err
    assert "3 waiting" not in said.err
    (kept,) = submitted(sweep)
    assert (kept.job, kept.jobs) == ("12", (0, 1, 2))
    script = (sweep / ".slurm" / "1.sh").read_text()
    assert "slurm_task" in script
    assert subprocess.run(["bash", "-n", "-c", script]).returncode == 0


def test_the_same_command_waits_for_what_is_there_and_submits_the_rest(
    outputs: Path, slurm: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.says("sbatch", "12\n")
    assert main([*SWEEP, "seed=range(3)", "hydra.launcher.wait=false"]) == 0
    slurm.says("squeue", rows(outputs, {0: "RUNNING", 1: "TIMEOUT", 2: "PENDING"}))
    slurm.says("sbatch", "13\n")
    assert main([*SWEEP, "seed=range(3)", "hydra.launcher.wait=false"]) == 0
    assert "2 jobs are in SLURM already (1 PENDING, 1 RUNNING): 12" in capsys.readouterr().err
    assert [each.jobs for each in submitted(folder(outputs))] == [(0, 1, 2), (1,)]
    assert "--array=1 " in slurm.calls("sbatch")[1]


def test_what_slurm_tidies_up_is_not_submitted_a_second_time(outputs: Path, slurm: Stand) -> None:
    """It may be on its way back into the queue."""
    slurm.says("sbatch", "12\n")
    assert main([*SWEEP, "seed=range(2)", "hydra.launcher.wait=false"]) == 0
    slurm.says("squeue", rows(outputs, {0: "COMPLETING", 1: "REQUEUED"}))
    assert main([*SWEEP, "seed=range(2)", "hydra.launcher.wait=false"]) == 0
    assert len(slurm.calls("sbatch")) == 1


def test_it_returns_when_all_have_ended_and_names_what_was_lost(
    outputs: Path, slurm: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.says("sbatch", "12\n")
    assert main([*SWEEP, "seed=range(2)", "hydra.launcher.wait=false"]) == 0
    sweep = sweepdir.read(folder(outputs))
    slurm.says("squeue", rows(outputs, {0: "PENDING", 1: "PENDING"}))
    watched = states.Tasks.look

    def then_they_end(tasks: states.Tasks) -> bool:
        slurm.says("squeue", rows(outputs, {0: "COMPLETED", 1: "NODE_FAIL"}))
        with RunDir.enter(sweep.folder(sweep.jobs[0]), {}) as run:
            run.status("done")
        return watched(tasks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(states.Tasks, "look", then_they_end)
        assert main([*SWEEP, "seed=range(2)"]) == 1, "a job that left no word"
    out = capsys.readouterr().out
    assert "SLURM: NODE_FAIL on node1 (12_1)" in out
    assert "1 done, 1 dead" in out or "dead" in out
    assert len(slurm.calls("sbatch")) == 1
    assert json.loads((sweep.path / ".slurm" / "seen.json").read_text())["tasks"]["1"]["state"] == "NODE_FAIL"


def test_ctrl_c_ends_the_waiting_and_not_the_jobs(
    outputs: Path, slurm: Stand, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.says("sbatch", "12\n")

    def look(tasks: states.Tasks) -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return False

    monkeypatch.setattr(states.Tasks, "look", look)
    assert main([*SWEEP, "seed=range(2)"]) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("interrupted; the jobs go on in SLURM")
    assert last.endswith("`scancel 12` ends them")
    assert not any("scancel" in call for call in slurm.calls("scancel"))


def test_another_launcher_is_refused_while_slurm_has_the_jobs(
    outputs: Path, slurm: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.says("sbatch", "12\n")
    assert main([*SWEEP, "seed=range(2)", "hydra.launcher.wait=false"]) == 0
    slurm.says("squeue", rows(outputs, {0: "RUNNING", 1: "PENDING"}))
    assert main([*SWEEP, "seed=range(2)", "hydra/launcher=joblib"]) == 2
    err = capsys.readouterr().err
    assert "2 jobs of the sweep are in SLURM already" in err
    assert "scancel 12_0 12_1" in err


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "sbatch: error: invalid partition specified: nope\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified\n",
            "SLURM does not take the jobs: invalid partition specified: nope; Batch job submission failed: Invalid "
            "partition name specified",
        ),
        (
            "sbatch: error: Batch job submission failed: Requested node configuration is not available\n",
            "Requested node configuration is not available",
        ),
    ],
)
def test_what_slurm_refuses_is_told_in_a_line(
    said: str, words: str, outputs: Path, slurm: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.fails("sbatch", said)
    assert main([*SWEEP, "seed=range(2)"]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "rra doctor" in err
    assert not outputs.exists(), "nothing is thought to be there"


def test_a_wrong_setting_is_refused_before_anything_is_written(
    outputs: Path, slurm: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SWEEP, "seed=range(2)", "hydra.launcher.time=soon"]) == 2
    assert "hydra.launcher.time: expected minutes, H:MM:SS or D-H:MM:SS, got 'soon'" in capsys.readouterr().err
    assert not outputs.exists()
    assert main([*SWEEP, "seed=range(2)", "hydra.launcher.setup=[reboot]"]) == 2
    assert "may not be set" in capsys.readouterr().err


def test_without_slurm_it_is_said(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_slurm(tmp_path / "none", monkeypatch)
    assert main([*SWEEP, "seed=range(2)"]) == 2
    err = capsys.readouterr().err
    assert "there is no SLURM on this machine" in err
    assert "hydra/launcher=joblib" in err


def test_where_slurm_is_silent_nothing_is_started_twice(
    outputs: Path, slurm: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.says("sbatch", "12\n")
    assert main([*SWEEP, "seed=range(2)", "hydra.launcher.wait=false"]) == 0
    slurm.fails("squeue", "slurm_load_jobs error: Unable to contact slurm controller\n")
    assert main([*SWEEP, "seed=range(2)"]) == 2
    assert "SLURM does not answer: slurm_load_jobs error: Unable to contact" in capsys.readouterr().err
    assert len(slurm.calls("sbatch")) == 1


def test_an_array_whose_id_was_not_written_down_is_found_by_its_name(outputs: Path, slurm: Stand) -> None:
    """As if the launching process was killed between sbatch and the note of what it said."""
    slurm.says("sbatch", "12\n")
    assert main([*SWEEP, "seed=range(2)", "hydra.launcher.wait=false"]) == 0
    record = folder(outputs) / ".slurm" / "1.json"
    lost = json.dumps({**json.loads(record.read_text()), "job": None})
    record.write_text(lost)
    slurm.says("squeue", "12\n12\n")
    assert main([*SWEEP, "seed=range(2)", "hydra.launcher.wait=false"]) == 0
    assert json.loads(record.read_text())["job"] == "12"
    assert f"--name={array_name(folder(outputs), 1)}" in " ".join(slurm.calls("squeue"))
    record.write_text(lost)
    slurm.says("squeue", "")
    assert main([*SWEEP, "seed=range(2)", "hydra.launcher.wait=false"]) == 0
    assert not record.exists(), "it was never submitted"


def test_more_jobs_than_an_array_may_have(outputs: Path, slurm: Stand) -> None:
    slurm.says("sbatch", "12\n")
    slurm.says("scontrol", "MaxArraySize            = 3\n")
    assert main([*SWEEP, "seed=range(5)", "hydra.launcher.wait=false"]) == 0
    found = submitted(folder(outputs))
    assert [(each.base, each.jobs) for each in found] == [(0, (0, 1)), (2, (2, 3)), (4, (4,))]
    assert ["--array=0-1 " in call or "--array=0 " in call for call in slurm.calls("sbatch")] == [True] * 3
    assert "number=$((2 + SLURM_ARRAY_TASK_ID))" in (folder(outputs) / ".slurm" / "2.sh").read_text()


@pytest.mark.parametrize(
    "change",
    [{"job": "12;reboot"}, {"job": "--help"}, {"name": "a b"}, {"cluster": "-M"}, {"base": -1}, {"jobs": [True]}],
)
def test_a_tampered_record_reaches_no_command(change: dict[str, object]) -> None:
    fields = {"number": 1, "name": "mine", "base": 0, "jobs": (0,), "job": "12"}
    Submission(**fields)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"no |numbers"):
        Submission(**{**fields, **change})  # type: ignore[arg-type]


# What a task does


def test_a_task_of_several_processes_is_one_of_torchruns_ranks() -> None:
    environment = {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "70001"}
    environment |= {"SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7", "SLURM_CPUS_PER_TASK": "6", "OMP_NUM_THREADS": "2"}
    slurm_task.take_place(environment)
    assert (environment["RANK"], environment["WORLD_SIZE"], environment["LOCAL_RANK"]) == ("3", "4", "1")
    assert (environment["MASTER_ADDR"], environment["MASTER_PORT"]) == ("10.0.0.7", "50001")
    assert (environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("2", "6")
    alone = {"SLURM_NTASKS": "1", "SLURM_CPUS_ON_NODE": "3"}
    slurm_task.take_place(alone)
    assert "RANK" not in alone
    assert alone["OMP_NUM_THREADS"] == "3"


def test_starts_that_keep_nothing_are_counted(tmp_path: Path) -> None:
    record = tmp_path / ".slurm" / "idle" / "3.json"
    assert [slurm_task.idle_starts(record, kept=kept) for kept in (False, False, True, False)] == [1, 2, 0, 1]
    record.write_text("{")
    assert slurm_task.idle_starts(record, kept=False) == 1


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("write resume.pt: renamed", True),
        ("publish abc: renamed", True),
        ("write rows_x_000_100.state: renamed", True),
        ("capture: rows flushed", True),
        ("write status.json: renamed", False),
        ("write resume.pt: written", False),
        ("lease a: taken", False),
    ],
)
def test_what_the_next_start_goes_on_with(name: str, counts: bool) -> None:
    assert bool(slurm_task._KEPT.fullmatch(name)) == counts


@pytest.fixture
def as_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setattr(signal, "signal", lambda *_: None)


@pytest.mark.usefixtures("as_task")
def test_a_job_that_still_runs_is_put_into_the_queue_again(slurm: Stand) -> None:
    """That of a job which SLURM is ending is decided already: a cancelled one must not come back."""
    slurm.says("squeue", "RUNNING\n")
    assert slurm_task.requeue(idle=0) == "saved; job 12_3 is in the queue again"
    assert slurm.calls("scontrol") == ["requeue 12_3"]
    for state in ("COMPLETING", "PENDING", ""):
        slurm.says("squeue", f"{state}\n")
        assert slurm_task.requeue(idle=0) == f"SLURM ends job 12_3 ({state})"
    assert len(slurm.calls("scontrol")) == 1


@pytest.mark.usefixtures("as_task")
def test_a_job_that_never_keeps_anything_is_left_alone(slurm: Stand) -> None:
    slurm.says("squeue", "RUNNING\n")
    assert "in the queue again" in slurm_task.requeue(idle=slurm_task.MOST_IDLE - 1)
    assert "not put into the queue again" in slurm_task.requeue(idle=slurm_task.MOST_IDLE)
    assert len(slurm.calls("scontrol")) == 1


@pytest.mark.usefixtures("as_task")
def test_a_cluster_that_refuses_is_named(slurm: Stand) -> None:
    slurm.says("squeue", "RUNNING\n")
    slurm.fails("scontrol", "Requested operation is presently disabled for job 12_3\n")
    said = slurm_task.requeue(idle=0)
    assert "could not be put into the queue again (Requested operation is presently disabled for job 12_3)" in said
