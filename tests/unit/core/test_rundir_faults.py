"""Run folders of runs that failed, and folders that cannot be written or must not be."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_states import CONFIG, status

from rra_cli.core import files
from rra_cli.core.rundir import RunDir
from rra_cli.errors import UserError


def test_an_unreadable_configuration_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"config\.yaml cannot be read"):
        RunDir.enter(tmp_path, CONFIG)
    assert (tmp_path / "config.yaml").read_text() == "a: ["


@pytest.mark.parametrize(
    ("error", "state", "traced"),
    [(RuntimeError("boom"), "failed", True), (UserError("bad k", "lower it"), "failed", False),
     (KeyboardInterrupt(), "interrupted", False)],
)  # fmt: skip
def test_leaving_by_an_exception_is_recorded(tmp_path: Path, error: BaseException, state: str, traced: bool) -> None:
    def run() -> None:
        with RunDir.enter(tmp_path, CONFIG):
            raise error

    with pytest.raises(type(error)):
        run()
    written = status(tmp_path)
    assert written["state"] == state
    assert ("Traceback" in written["traceback"]) is traced
    assert written["message"]
    with RunDir.enter(tmp_path, CONFIG):
        pass


def test_a_state_written_by_the_caller_is_kept(tmp_path: Path) -> None:
    def run() -> None:
        with RunDir.enter(tmp_path, CONFIG) as entered:
            entered.status("failed", "graph", message="ours")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError):
        run()
    assert status(tmp_path)["message"] == "ours"


def test_a_full_disk_does_not_hide_the_first_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def run() -> None:
        with RunDir.enter(tmp_path, CONFIG):
            monkeypatch.setattr(files, "sync", refuse)
            raise UserError("the first fault")

    with pytest.raises(UserError, match="the first fault"):
        run()


def test_a_folder_that_cannot_be_made_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="a file lies where a folder is needed"):
        RunDir.enter(tmp_path / "file" / "run", CONFIG)


@pytest.mark.skipif(not Path("/sys/kernel").exists(), reason="needs a kernel folder in which nobody may create files")
def test_a_folder_that_cannot_be_written_is_the_users_to_mend() -> None:
    with pytest.raises(UserError, match="cannot write /sys/kernel") as caught:
        RunDir.enter(Path("/sys/kernel"), CONFIG)
    assert "hydra.run.dir" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["run.log", ".lease", "tables", "tables/per_sample", "plots", ".hydra"])
def test_nothing_is_written_behind_a_link_in_the_folder(tmp_path: Path, name: str) -> None:
    """The folder may be a stranger's, and so may be what its log is a link to."""
    outside, place = tmp_path / "outside", tmp_path / "run" / name
    place.parent.mkdir(parents=True)
    outside.mkdir()
    place.symlink_to(outside)
    with pytest.raises(UserError, match=f"{name} is a link, behind which nothing is written"):
        RunDir.enter(tmp_path / "run", {})
    assert list(outside.iterdir()) == []
    place.unlink()
    RunDir.enter(tmp_path / "run", {}).leave()  # the control
