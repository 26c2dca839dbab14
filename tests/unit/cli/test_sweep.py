"""`rra run -m`: every job runs to its end, once; a folder per sweep and per job; the exit code says whose faults."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from pathlib import Path

import pytest
from command import Command, FakePipeline

from rra_cli.config import catalog
from rra_cli.config.experiment import Experiment
from rra_cli.config.overrides import check
from rra_cli.config.resolvers import LONGEST, job_folder
from rra_cli.core import signals, sweepdir
from rra_cli.core.lease import Lease
from rra_cli.errors import EXIT_INTERRUPTED, EXIT_RESUMABLE, UserError

QUICK = ("run", "-m", "+experiment=quickstart")


def fail_for(faults: dict[int, BaseException]):
    def act(experiment: Experiment, folder: Path) -> None:
        if experiment.seed in faults:
            raise faults[experiment.seed]

    return act


def seeds(pipeline: FakePipeline) -> list[int]:
    return [experiment.seed for experiment, _, _ in pipeline.runs]


def states(folder: Path) -> dict[str, str]:
    return {path.parent.name: json.loads(path.read_text())["state"] for path in folder.glob("*/status.json")}


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


def test_the_same_sweep_has_the_same_folder_and_another_one_another(rra: Command, pipeline: FakePipeline) -> None:
    assert rra(*QUICK, "seed=0,1") == rra(*QUICK, "seed=1,0") == 0
    assert len(rra.sweeps) == 1
    for number, other in enumerate((["seed=0,2"], ["seed=0,1", "method.epochs=2"], ["seed=0,1", "model=mlp"]), 2):
        assert rra(*QUICK, *other) == 0
        assert len(rra.sweeps) == number


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


def test_more_values_in_the_same_folder_join_those_that_are_there(
    rra: Command, pipeline: FakePipeline, tmp_path: Path
) -> None:
    place = f"hydra.sweep.dir={tmp_path / 'mine'}"
    assert rra(*QUICK, "seed=0,1", place) == 0
    assert rra(*QUICK, "seed=1,2,3", place) == 0
    assert seeds(pipeline) == [0, 1, 2, 3]
    jobs = sweepdir.read(tmp_path / "mine").jobs
    assert [(job.number, job.folder) for job in jobs] == [(number, f"seed={number}") for number in range(4)]


def test_a_single_value_joins_as_several_do(rra: Command, pipeline: FakePipeline, tmp_path: Path) -> None:
    place = f"hydra.sweep.dir={tmp_path / 'mine'}"
    assert rra(*QUICK, "seed=0,1", place) == 0
    assert rra(*QUICK, "seed=2", place) == 0
    assert rra(*QUICK, "seed=3", place) == 0
    assert "Sweep of 1 job: mine" in rra.out
    assert rra(*QUICK, "seed=4", "model=convnet_small,mlp", place) == 0, "another key is swept as well"
    assert seeds(pipeline) == [0, 1, 2, 3, 4, 4]
    names = [f"seed={seed}" for seed in range(4)] + [f"seed=4,model={name}" for name in ("convnet_small", "mlp")]
    assert [job.folder for job in sweepdir.read(tmp_path / "mine").jobs] == names
    before = (tmp_path / "mine" / "sweep.json").read_bytes()
    assert rra(*QUICK, "seed=5", "method.epochs=7", place) == 2
    assert "differs in more than what is swept: method.epochs: stored " in rra.err
    assert (tmp_path / "mine" / "sweep.json").read_bytes() == before
    assert rra(*QUICK, "seed=0,1", place) == 0
    assert len(pipeline.runs) == 6, "those that are there are found by the same command"


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


def test_another_sweep_does_not_write_over_the_runs_in_a_folder(
    rra: Command, pipeline: FakePipeline, tmp_path: Path
) -> None:
    arguments = [*QUICK, "seed=0,1", f"hydra.sweep.dir={tmp_path / 'sweep ä'}"]
    assert rra(*arguments) == 0
    folder = tmp_path / "sweep ä"
    assert rra(*arguments) == 0

    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before = content()
    assert rra(*arguments, "method.epochs=2") == 2
    assert re.search(
        r"/seed=0 is the folder of a job with another configuration: method.epochs: stored \d+, asked ", rra.err
    )
    assert "and 1 more folders of 2" in rra.err
    assert "set another hydra.sweep.dir" in rra.err
    assert content() == before, "not even sweep.json is written"
    shutil.rmtree(folder / "seed=1")
    before = content()
    assert rra(*QUICK, "seed=1,2", "method.epochs=2", arguments[-1]) == 2
    assert "/seed=1 is the folder of a job" in rra.err, "one that has no run yet counts as well"
    assert content() == before
    assert states(folder) == {"seed=0": "done"}
    assert rra(*arguments) == 0, "the runs that are there are as good as before"


def test_a_sweep_that_is_being_run_is_refused(rra: Command, pipeline: FakePipeline) -> None:
    assert rra(*QUICK, "seed=0,1") == 0
    lease = Lease(rra.sweeps[0] / sweepdir.LEASE)
    other = threading.Thread(target=lease.acquire)  # a thread that held it itself would be told of a fault of ours
    other.start()
    other.join()
    try:
        assert rra(*QUICK, "seed=0,1") == 2
    finally:
        lease.dissolve()
    assert f"is being run by process {os.getpid()}" in rra.err
    assert "rra status" in rra.err
    assert rra(*QUICK, "seed=0,1") == 0


def test_a_value_given_twice_is_refused(rra: Command, pipeline: FakePipeline) -> None:
    assert rra(*QUICK, "seed=1,1") == 2
    assert "seed: a value is given twice" in rra.err
    assert pipeline.runs == []


@pytest.mark.parametrize(
    ("subdir", "words"),
    [
        ("same", "two jobs of the sweep would share the folder 'same'"),
        ("../${seed}", "must lie inside of the sweep's"),
        ("/tmp/${seed}", "must lie inside of the sweep's"),
    ],
)
def test_folders_that_would_not_do_are_refused(subdir: str, words: str, rra: Command, pipeline: FakePipeline) -> None:
    assert rra(*QUICK, "seed=0,1", f"hydra.sweep.subdir='{subdir}'") == 2
    assert words in rra.err
    assert pipeline.runs == []


def test_folders_of_the_users_choice(rra: Command, pipeline: FakePipeline) -> None:
    assert rra(*QUICK, "seed=4,5", "hydra.sweep.subdir='${hydra.job.num}/s${seed}'") == 0
    assert [folder.relative_to(rra.sweeps[0]).as_posix() for _, folder, _ in pipeline.runs] == ["0/s4", "1/s5"]


@pytest.mark.parametrize(
    "swept",
    [
        ["seed=3,1", "model=mlp,convnet_small"],
        ["method.epochs=range(2)", "+augment=none"],
        ["dataset.n_samples={train: 10},{train: 20}", "optimizer.lr=1e-3,0.1"],
    ],
)
def test_folders_are_those_that_hydra_names(swept: list[str]) -> None:
    """Without composing every job; here each is composed, as Hydra's own launcher does."""
    from rra_cli.cli.sweep import _composed_folder, _folders
    from rra_cli.config.compose import composed

    checked = check(["+experiment=quickstart", *swept], catalog.options(), sweep=True)
    assert not checked.faults
    jobs = list(checked.jobs())
    first, _ = composed(jobs[0], [])
    assert _folders(checked, jobs, [], first) == [
        _composed_folder(checked, texts, number, []) for number, texts in enumerate(jobs)
    ]


def test_jobs_are_in_the_order_of_hydras_own_sweeper() -> None:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    given = ["+experiment=quickstart", "seed=range(2)", "method.epochs=3", "model=mlp,convnet_small"]
    checked = check(given, catalog.options(), sweep=True)
    parsed = OverridesParser.create().parse_overrides(list(checked.overrides))
    (expected,) = BasicSweeper.split_arguments(parsed, None)
    assert list(checked.jobs()) == expected


def test_checked_overrides_are_left_as_they_are_when_they_are_checked_again() -> None:
    """`sweep.json` holds checked ones, and whoever runs a job from it checks them again."""
    given = ["experiment=quickstart", "seed=0,1", "dataset.root=/a b/ü,c", "pooling=[none,mean]", "~compare.layers"]
    checked = check(given, catalog.options(), sweep=True)
    for job in checked.jobs():
        again = check(job, catalog.options(), sweep=False)
        assert again.faults == ()
        assert list(again.overrides) == job


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
