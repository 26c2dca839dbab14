"""`rra run` under torchrun: who says what is wrong, and what is refused."""

from __future__ import annotations

import pytest
from command import Command, FakePipeline

from rra_cli.config.experiment import Runtime
from rra_cli.errors import EXIT_OK, EXIT_USER

MLP = ("dataset=digits", "model=mlp")


def test_a_sweep_is_refused(rra: Command, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert rra("run", "-m", *MLP, "seed=0,1") == EXIT_USER
    assert "torchrun starts one job, not a sweep" in rra.err
    assert "its own torchrun command" in rra.err
    assert pipeline.runs == []


def test_another_number_of_processes_is_refused_before_anything_is_written(
    rra: Command, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert rra("run", *MLP) == EXIT_USER
    assert "method.ranks is 1, but 2 processes were started" in rra.err
    assert pipeline.runs == []
    assert rra.folders == []
    assert rra("run", *MLP, "method.ranks=2") == EXIT_OK, "the control"


def test_the_other_processes_follow_a_job_of_a_sweep_and_a_run_again(
    rra: Command, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rra("run", "-m", *MLP, "seed=4,5") == EXIT_OK
    (sweep,) = rra.sweeps
    followed = []
    monkeypatch.setattr("rra_cli.stages.ranks.follow", lambda experiment: followed.append(experiment.seed) or EXIT_OK)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert rra("job", str(sweep), "1") == EXIT_OK
    assert rra("run", "--from", str(sweep / "seed=4")) == EXIT_OK
    assert followed == [5, 4]
    assert len(pipeline.runs) == 2
    assert rra("run", "--from", str(sweep)) == EXIT_USER
    assert "torchrun starts one run, not a sweep" in rra.err


def test_only_the_first_process_says_what_is_wrong(
    rra: Command, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank, said in (("0", True), ("1", False)):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", rank)
        assert rra("run", *MLP, "method.ranks=2", "sed=1") == EXIT_USER
        assert bool(rra.err) == said


def test_a_following_process_runs_no_pipeline(
    rra: Command, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = []
    monkeypatch.setattr("rra_cli.stages.ranks.follow", lambda experiment: followed.append(experiment) or EXIT_OK)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert rra("run", *MLP, "method.ranks=2", "seed=3") == EXIT_OK
    assert [experiment.seed for experiment in followed] == [3]
    assert pipeline.runs == []
    assert rra.folders == []
    assert rra.out == rra.err == ""


@pytest.mark.parametrize("minutes", [-1.0, float("inf"), float("nan")])
def test_minutes_between_two_saves(minutes: float) -> None:
    with pytest.raises(ValueError, match=r"save_every is .*; expected a number of minutes"):
        Runtime(save_every=minutes)
    assert Runtime(save_every=0.0).save_every == 0.0
