"""`rra plan` shows what the pipeline plans, and runs nothing."""

from __future__ import annotations

import pytest
from command import Command, FakePipeline

from rra_cli.cli.plan import plan_total
from rra_cli.config.experiment import Experiment
from rra_cli.pipeline import Plan, PlanRow
from rra_cli.stages.stage import Cost

ROWS = (
    PlanRow("train", "[x]", "missing", 90.0, 2 * 10**9, 10**6, "a" * 64),
    PlanRow("graph", "input", "stale", 3.0, 10**9, 10**3, "b" * 64),
    PlanRow("measure", "nncs input", "cached", 1.0, 0, 10, "c" * 64),
)
# Less disk than the rows together: some of it is freed on the way.
TOTAL = Cost(93.0, 2 * 10**9, 900_000)


def test_the_plan_is_a_table_with_a_total(
    rra: Command, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Experiment] = []

    def plan(experiment: Experiment) -> Plan:
        asked.append(experiment)
        return Plan(ROWS, TOTAL)

    monkeypatch.setattr("rra_cli.pipeline.plan", plan)
    assert rra("plan", "+experiment=quickstart", "seed=3") == 0
    assert asked[0].seed == 3
    rows = [line.split() for line in rra.out.splitlines()]
    assert ["train", "[x]", "missing", "a" * 12, "1:30", "2.00", "GB", "1.00", "MB"] in rows
    assert ["measure", "nncs", "input", "cached", "c" * 12] in rows
    assert "2 of 3 stages would run (1 train, 1 graph): about 1:33, 2.00 GB of memory, 900 kB of disk" in rra.out
    assert pipeline.runs == []
    assert not rra.outputs.exists()


def test_when_all_is_there_it_says_so() -> None:
    assert plan_total(Plan(ROWS[2:], Cost())).startswith("nothing to do in 1 stages")


def test_faults_are_told_as_by_run(rra: Command) -> None:
    assert rra("plan", "+experiment=quickstart", "seed=x", "modle=1") == 2
    assert rra.err.startswith("2 errors:")
    assert rra("plan") == 2
    assert "nothing to plan" in rra.err
    assert rra("plan", "-m", "seed=1,2") == 2
    assert "there is no -m: a plan is of one job" in rra.err
    assert "give one value for each key" in rra.err
