"""What SLURM prints is understood, and what it does not say is not made up. The texts are a real one's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import SACCT, SINFO, SQUEUE, STARTS, WAITING, Stand

from rra_cli.cli.doctor import slurm as findings
from rra_cli.slurm.commands import SlurmError, call
from rra_cli.slurm.offer import parse_sinfo
from rra_cli.slurm.queue import REST, in_accounting, in_queue, indices, parse_sacct, parse_squeue, ranges, setting


def test_the_queue() -> None:
    found = parse_squeue(SQUEUE)
    assert {key: task.state for key, task in found.items()} == {
        ("16", 0): "COMPLETED",
        ("16", 1): "FAILED",
        ("16", 2): "TIMEOUT",
        ("16", 3): "COMPLETED",
        ("17", 4): "CANCELLED",
        ("17", REST): "CANCELLED",
        ("22", 0): "FAILED",
        ("23", 0): "NODE_FAIL",
        ("23", 1): "RUNNING",
    }
    assert all(task.ended for key, task in found.items() if key != ("23", 1))
    assert found["23", 1].works
    assert (found["23", 0].job, found["23", 0].nodes, found["23", 0].name) == ("23_0", "node2", "recorded-4")
    waiting = parse_squeue(WAITING)["17", 5]
    assert (waiting.waits, waiting.reason, waiting.nodes) == (True, "JobArrayTaskLimit", "")


def test_the_accounting() -> None:
    found = parse_sacct(SACCT)
    assert found["16", 1].code == "3:0"
    assert (found["17", 4].state, found["17", REST].state, found["17", REST].nodes) == ("CANCELLED", "CANCELLED", "")
    assert found["23", 1].works
    listed = parse_sacct("12_[0-2,7%4]|x|CANCELLED by 1000|0:0|None assigned\n")
    assert [index for _, index in listed] == [0, 1, 2, 7]


def test_of_several_starts_the_last_counts() -> None:
    found = parse_sacct(STARTS)
    assert (found["5", 0].state, found["6", 1].state) == ("RUNNING", "COMPLETED")


@pytest.mark.parametrize("text", ["", "CLUSTER: test\n", "slurm is having a bad day\n", "a|b|c|d|e|f\n", "|||||\n"])
def test_other_lines_are_passed_over(text: str) -> None:
    assert parse_squeue(text) == parse_sacct(text) == {}
    assert parse_sinfo(text) == []


@given(st.sets(st.integers(0, 5000)))
def test_ranges_and_indices_are_inverse(numbers: set[int]) -> None:
    assert indices(ranges(numbers)) == sorted(numbers)


@pytest.mark.parametrize("text", ["x", "1-", "-1", "1--2", "0-999999999", "1,,2"])
def test_what_is_no_list_of_indices_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="array indices"):
        indices(text)


def test_a_job_that_left_the_queue_long_ago(slurm: Stand) -> None:
    slurm.fails("squeue", "slurm_load_jobs error: Invalid job id specified\n")
    assert in_queue(["12"]) == {}
    slurm.fails("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")
    with pytest.raises(SlurmError, match="Unable to contact slurm controller"):
        in_queue(["12"])
    slurm.fails("sacct", "Slurm accounting storage is disabled\n")
    with pytest.raises(SlurmError, match="accounting storage is disabled"):
        in_accounting(["12"])


def test_a_command_is_called_without_what_an_outer_job_left(slurm: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: what the user has said to sbatch stays."""
    outer = {"SLURM_MEM_PER_CPU": "1", "SQUEUE_FORMAT": "%A", "RANK": "1", "WORLD_SIZE": "2", "RRA_SWEEP": "/x"}
    for name, value in {**outer, "SBATCH_RESERVATION": "mine", "SLURM_CONF": "/c"}.items():
        monkeypatch.setenv(name, value)
    call("squeue")
    found = slurm.environment("squeue")
    assert not found.keys() & outer.keys()
    assert (found["SBATCH_RESERVATION"], found["SLURM_CONF"]) == ("mine", "/c")


def test_a_command_that_is_missing_or_silent(slurm: Stand) -> None:
    with pytest.raises(SlurmError, match="there is no command sbogus here"):
        call("sbogus")
    (slurm.folder / "squeue").write_text("#!/bin/bash\nexec sleep 5\n")
    with pytest.raises(SlurmError, match=r"gave no answer within 0\.2 s"):
        call("squeue", timeout=0.2)


def test_a_setting() -> None:
    assert setting("A = b\nMaxArraySize            = 1001\n", "MaxArraySize") == "1001"
    assert setting("MaxArraySizes = 3\n", "MaxArraySize") is None


def test_doctor_tells_what_slurm_offers(slurm: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    slurm.says("sinfo", SINFO)
    said = [finding.found for finding in findings()]
    two = "1 node of 4 cores and 18.8 GiB, GPUs test:2; 1 node of 4 cores and 18.8 GiB"
    assert said[0] == f"partition local (default): {two}; at most 1-00:00:00"
    assert said[1] == "partition spare: 1 node of 4 cores and 18.8 GiB, at most 1:00:00"
    assert said[2].startswith("accounting answers")
    slurm.fails("sacct", "Slurm accounting storage is disabled\n")
    assert [finding.found for finding in findings()][2].startswith("no accounting")
    slurm.fails("sinfo", "slurm_load_partitions: Unable to contact slurm controller (connect failure)\n")
    (finding,) = findings()
    assert finding.state == "note", "nothing that keeps experiments from running here"
    assert "Unable to contact slurm controller" in finding.found
