"""`rra report` and `rra doctor`."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import Command

from rra_cli.cli import doctor
from rra_cli.cli.doctor import Finding
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.core.sweepdir import Sweep, SweepJob


def test_report_renders_every_folder_given(rra: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[Path] = []
    monkeypatch.setattr("rra_cli.report.render", lambda folder, progress: rendered.append(folder))
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        (folder / "tables").mkdir(parents=True)
    assert rra("report", *map(str, folders)) == 0
    assert rendered == folders
    assert str(folders[1] / "report.html") in rra.out


def test_report_says_what_is_missing(rra: Command, tmp_path: Path) -> None:
    assert rra("report") == 2
    assert "a run folder is expected" in rra.err
    assert rra("report", str(tmp_path / "none")) == 2
    assert "there is no run folder" in rra.err
    assert rra("report", str(tmp_path)) == 2
    assert "holds no tables" in rra.err


def test_report_names_the_jobs_of_a_sweep(rra: Command, tmp_path: Path) -> None:
    names = [f"method.epochs={epochs},seed={seed}" for epochs in (1, 5) for seed in range(3)]
    jobs = tuple(SweepJob(number, name) for number, name in enumerate(names))
    Sweep(tmp_path, "quickstart", "0", "", "", "", "", (), jobs).write()
    assert rra("report", str(tmp_path)) == 2
    assert "no job has tables yet" in rra.err
    for name in names:
        (tmp_path / name / "tables").mkdir(parents=True)
    assert rra("report", str(tmp_path)) == 2
    assert "holds no tables" in rra.err
    assert f"give a job of the sweep: {tmp_path / names[0]}, " in rra.err.replace("\n", " ")
    assert "(6 in all)" in rra.err
    assert rra("report", str(tmp_path / "seed=1,method.epochs=5")) == 2
    assert "there is no run folder" in rra.err
    assert f"give a job of the sweep: {tmp_path / names[4]} ..." in rra.err, "the same in another order"


def test_doctor_looks_at_everything(rra: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RRA_DATA", str(tmp_path / "data"))
    assert rra("doctor") == 0, rra.out + rra.err
    for what in ("rra", "packages", "torch", "torchvision", "cuda", "machine", "outputs", "disk", "digits", "SLURM"):
        assert f"  {what} " in rra.out, what
    assert "1437 train, 360 test" in rra.out
    lines = rra.out.splitlines()
    (position,) = (i for i, line in enumerate(lines) if line.startswith("note  mnist"))
    assert str(tmp_path / "data") in lines[position]
    assert lines[position + 1].strip().startswith("→ it is downloaded when it is used")
    assert not (tmp_path / "data").exists()
    assert not rra.outputs.exists()


def test_doctor_is_2_if_something_must_be_mended(rra: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([Finding("bad", "torch", "is gone", "install it")]),))
    assert rra("doctor") == 2
    assert "BAD   torch        is gone\n" in rra.out
    assert "→ install it" in rra.out


def test_outputs_that_cannot_be_written_are_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RRA_OUTPUTS", str(tmp_path / "file" / "outputs"))
    (finding,) = doctor.outputs()
    assert (finding.state, finding.todo) == ("bad", "set RRA_OUTPUTS=DIR")


def test_little_disk_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RRA_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr("rra_cli.core.resources.free_disk", lambda path: 10**9)
    assert [finding.state for finding in doctor.outputs()] == ["ok", "note"]


@pytest.mark.parametrize(("variable", "words"), [("SLURM_JOB_ID", "inside of job 7"), ("NOTHING", "none: jobs of")])
def test_slurm(variable: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its commands are missing; what they say is looked at in unit/slurm."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv(variable, "7")
    (finding,) = doctor.slurm()
    assert finding.state == "ok"
    assert words in finding.found


def test_the_store_is_verified(rra: Command, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    spec = Spec("graph", 1, {"a": 1})
    with store.claim(spec) as work:
        (work.path / "x.txt").write_text("what was measured")
        work.publish(["x.txt"])
    assert rra("doctor", "--store", str(tmp_path / "store")) == 0, rra.out
    assert "1 artifacts" in rra.out
    (found,) = (path for path in (tmp_path / "store").rglob("x.txt"))
    found.chmod(0o644)
    found.write_text("what was mislaid!")
    assert rra("doctor", "--store", str(tmp_path / "store")) == 2
    assert "corrupt" in rra.out


def test_doctor_says_what_it_does_not_understand(rra: Command, tmp_path: Path) -> None:
    assert rra("doctor", "--disk") == 2
    assert "--disk is not understood" in rra.err
    assert rra("doctor", "--store", str(tmp_path / "none")) == 2
    assert "there is no store" in rra.err
    assert rra("doctor", "--store") == 2
    assert str(rra.outputs / "store") in rra.err
