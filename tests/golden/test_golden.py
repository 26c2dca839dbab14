"""Results of every stage are those of its version: who changes them must say so, or stores would mix old and new.

A change detector, not an oracle: whether the numbers are right is the business of `tests/oracle`.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
from golden import SOURCES, TOLERANCE, Golden, compute, differences, digest, read
from update import dump, refused

STAGES = ("train", "capture", "graph", "measure", "report")


@pytest.fixture(scope="module")
def computed() -> dict[str, Golden]:
    return compute()


@pytest.mark.parametrize("stage", STAGES)
def test_results_are_those_of_the_version(stage: str, computed: dict[str, Golden]) -> None:
    stored, found = read(stage), computed[stage]
    changed = differences(stored["values"], found["values"])
    if changed:
        where = SOURCES.get(stage)
        first = "say so in CHANGELOG.md" if where is None else f"raise VERSION in {where}"
        shown = "\n  ".join(changed[:10])
        pytest.fail(
            f"results of stage {stage} changed in {len(changed)} places (version {found['version']}):\n  {shown}\n"
            f"If that is meant, {first} (of the first such stage only: those after it get new keys with it) "
            "and run `python tests/golden/update.py`."
        )
    assert found["version"] == stored["version"], "run `python tests/golden/update.py`"


def test_every_stage_with_a_version_is_watched(computed: dict[str, Golden]) -> None:
    assert tuple(computed) == STAGES
    assert {stage for stage in STAGES if computed[stage]["version"] is not None} == set(SOURCES)
    assert all(len(computed[stage]["values"]) >= 10 for stage in STAGES)


def test_a_changed_element_is_seen_and_the_last_bits_are_not() -> None:
    values = np.random.default_rng(0).normal(size=(20, 30))
    stored = {"x": {"shape": [20, 30], "digest": digest(values)}}
    noisy = {"x": {"shape": [20, 30], "digest": digest(values * (1 + 1e-6 * np.sign(values)))}}
    assert differences(stored, noisy) == []
    values[3, 4] += 100 * TOLERANCE
    assert len(differences(stored, {"x": {"shape": [20, 30], "digest": digest(values)}})) == 1
    swapped = {"x": {"shape": [20, 30], "digest": digest(values[::-1])}}
    assert len(differences(stored, swapped)) == 1
    assert differences(stored, {}) == ["x: gone"]
    assert differences({}, stored) == ["x: new"]


def test_an_update_needs_a_raised_version() -> None:
    old: Golden = {"version": 1, "values": {"x": {"shape": [1], "digest": [1.0, 2.0]}}}
    new = copy.deepcopy(old)
    assert refused("graph", old, new) == ""
    new["values"]["x"]["digest"] = [1.5, 2.0]
    assert refused("graph", old, new) == "raise VERSION in rra_cli/stages/graphs/graph.py first"
    assert refused("graph", old, {**new, "version": 2}) == ""
    assert refused("report", old, new) == ""


def test_of_metrics_only_the_changed_one_needs_a_raised_version() -> None:
    old: Golden = {
        "version": {"nncs": 1, "nnls": 1},
        "values": {"nncs conv1": {"digest": [1.0, 2.0]}, "nnls conv1": {"digest": [1.0, 2.0]}},
    }
    new = copy.deepcopy(old)
    new["values"]["nncs conv1"]["digest"] = [1.5, 2.0]
    assert "of nncs first" in refused("measure", old, new)
    new["version"]["nnls"] = 2
    assert "of nncs first" in refused("measure", old, new)
    new["version"]["nncs"] = 2
    assert refused("measure", old, new) == ""


def test_files_are_written_as_they_are_read() -> None:
    assert all(dump(read(stage)) for stage in STAGES)
