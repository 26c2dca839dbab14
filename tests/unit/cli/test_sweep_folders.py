"""A folder per sweep and per job: the same for the same jobs, joined by more, and never another's."""

from __future__ import annotations

import os
import re
import shutil
import threading
from pathlib import Path

import pytest
from command import Command, FakePipeline
from sweeping import QUICK, seeds, states

from rra_cli.config import catalog
from rra_cli.config.overrides import check
from rra_cli.config.resolvers import LONGEST, job_folder
from rra_cli.core import sweepdir
from rra_cli.core.lease import Lease


def test_the_same_sweep_has_the_same_folder_and_another_one_another(rra: Command, pipeline: FakePipeline) -> None:
    assert rra(*QUICK, "seed=0,1") == rra(*QUICK, "seed=1,0") == 0
    assert len(rra.sweeps) == 1
    for number, other in enumerate((["seed=0,2"], ["seed=0,1", "method.epochs=2"], ["seed=0,1", "model=mlp"]), 2):
        assert rra(*QUICK, *other) == 0
        assert len(rra.sweeps) == number


def test_more_values_in_the_same_folder_join_those_that_are_there(
    rra: Command, pipeline: FakePipeline, tmp_path: Path
) -> None:
    place = f"hydra.sweep.dir={tmp_path / 'mine'}"
    assert rra(*QUICK, "seed=0,1", place) == 0
    assert rra(*QUICK, "seed=1,2,3", place) == 0
    assert seeds(pipeline) == [0, 1, 2, 3]
    jobs = sweepdir.read(tmp_path / "mine").jobs
    assert [(job.number, job.folder) for job in jobs] == [(number, f"seed={number}") for number in range(4)]


@pytest.mark.long
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
