"""`sweep.json`: written before the first job, read by anybody, believed by nobody."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rra_cli.core import sweepdir
from rra_cli.core.sweepdir import Outcome, Sweep, SweepJob
from rra_cli.errors import UserError


def sweep(path: Path, *folders: str) -> Sweep:
    jobs = tuple(SweepJob(number, folder, (f"++{folder}",), (folder,)) for number, folder in enumerate(folders))
    return Sweep(path, "quickstart", "00", "rra run -m", "/", "0.1.0", "basic", (), jobs)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = sweep(tmp_path, "seed=0", "seed=1").write()
    assert sweepdir.is_sweep(tmp_path)
    assert sweepdir.read(tmp_path) == written
    assert written.job_in(tmp_path / "seed=1") == written.jobs[1]
    assert written.job_in(tmp_path / "seed=2") is None
    assert written.job(1).name == "seed=1"


def test_jobs_of_an_earlier_call_stay_with_their_numbers(tmp_path: Path) -> None:
    sweep(tmp_path, "seed=0", "seed=1").write()
    mine = sweep(tmp_path, "seed=2", "seed=1").write()
    assert [(job.number, job.folder) for job in mine.jobs] == [(2, "seed=2"), (1, "seed=1")]
    whole = sweepdir.read(tmp_path)
    assert [(job.number, job.folder) for job in whole.jobs] == [(0, "seed=0"), (1, "seed=1"), (2, "seed=2")]


def test_outcomes_are_kept_by_number_and_forgotten(tmp_path: Path) -> None:
    written = sweep(tmp_path, "seed=0", "seed=1").write()
    job = written.jobs[1]
    assert written.outcome(job) is None
    written.end(job, Outcome(2, str(tmp_path), "mend it"))
    assert written.outcome(job) == Outcome(2, str(tmp_path / "seed=1"), "mend it")
    assert written.outcome(written.jobs[0]) is None
    written.forget(job)
    assert written.outcome(job) is None


@pytest.mark.parametrize("content", ["", "[]", '{"code": 7, "message": ""}', '{"code": 0}', "{"])
def test_an_outcome_that_is_none_is_no_word(content: str, tmp_path: Path) -> None:
    written = sweep(tmp_path, "seed=0").write()
    (tmp_path / ".jobs").mkdir()
    (tmp_path / ".jobs" / "0.json").write_text(content)
    assert written.outcome(written.jobs[0]) is None


def change(record: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**record, "jobs": [{**record["jobs"][0], **changes}]}


@pytest.mark.parametrize(
    "faulty",
    [
        lambda record: [],
        lambda record: {},
        lambda record: {**record, "jobs": 3},
        lambda record: {**record, "command": None},
        lambda record: {**record, "config_dirs": "a"},
        lambda record: {**record, "jobs": [record["jobs"][0]] * 2},
        lambda record: change(record, folder="../x"),
        lambda record: change(record, folder="/x"),
        lambda record: change(record, folder="a/../../x"),
        lambda record: change(record, folder=".jobs"),
        lambda record: change(record, folder=""),
        lambda record: change(record, folder=["a"]),
        lambda record: change(record, folder="x" * 256),
        lambda record: change(record, folder="x/" * 600 + "x"),
        lambda record: change(record, folder="a\0b"),
        lambda record: change(record, folder="\ud800"),
        lambda record: change(record, number=-1),
        lambda record: change(record, number=10**30),
        lambda record: change(record, number=True),
        lambda record: change(record, number="0"),
        lambda record: change(record, overrides=[3]),
        lambda record: change(record, overrides="seed=0"),
        lambda record: change(record, source=3),
    ],
)
def test_a_record_that_is_none_is_the_users_to_mend(faulty, tmp_path: Path) -> None:
    sweep(tmp_path, "seed=0").write()
    path = tmp_path / sweepdir.SWEEP
    record = json.loads(path.read_text())
    path.write_text(json.dumps(faulty(record)))
    with pytest.raises(UserError, match=r"sweep\.json cannot be read"):
        sweepdir.read(tmp_path)
    path.write_text(json.dumps(record))
    assert len(sweepdir.read(tmp_path).jobs) == 1, "the control"


def test_files_that_are_no_json_are_named(tmp_path: Path) -> None:
    for content in (b"", b"\xff", b"[" * 10**5):
        (tmp_path / sweepdir.SWEEP).write_bytes(content)
        with pytest.raises(UserError, match="cannot be read"):
            sweepdir.read(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        sweepdir.read(tmp_path / "absent")


def test_a_job_that_is_not_there_is_named(tmp_path: Path) -> None:
    written = sweep(tmp_path, "seed=0", "seed=1")
    with pytest.raises(UserError, match="has no job 4; it has 0 to 1"):
        written.job(4)
    with pytest.raises(UserError, match="it has none"):
        replace(written, jobs=()).job(0)


@pytest.mark.parametrize("name", [".jobs", "a", "a/seed=0"])
def test_a_job_whose_folder_is_a_link_does_not_start(tmp_path: Path, name: str) -> None:
    written = sweep(tmp_path / "sweep", "a/seed=0").write()
    written.forget(written.jobs[0])  # the control
    (tmp_path / "outside").mkdir()
    place = tmp_path / "sweep" / name
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match=f"{name} is a link"):
        written.forget(written.jobs[0])
