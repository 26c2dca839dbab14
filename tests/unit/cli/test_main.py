"""The command itself: help, version, exit codes, and who sees a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command import Command, FakePipeline

from rra_cli import __version__
from rra_cli.cli import COMMANDS
from rra_cli.errors import UserError


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_command(arguments: list[str], rra: Command) -> None:
    assert rra(*arguments) == 0
    for command in COMMANDS:
        assert f"  {command} " in rra.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, rra: Command) -> None:
    assert rra(command, "--help") == 0
    assert rra.out.startswith(f"rra {command}: ")


def test_version(rra: Command) -> None:
    assert rra("--version") == 0
    assert rra.out == f"rra {__version__}\n"


def test_an_unknown_command_is_the_users_fault(rra: Command) -> None:
    assert rra("rnu") == 2
    assert "there is no command 'rnu'; did you mean 'run'?" in rra.err
    assert "\nhint: `rra --help` lists all\n" in rra.err


def test_a_forgotten_run_is_named(rra: Command) -> None:
    assert rra("+experiment=quickstart", "seed=1") == 2
    assert "did you mean `rra run +experiment=quickstart seed=1`?" in rra.err


def test_done_is_0_and_shows_the_table_and_the_folder(rra: Command, pipeline: FakePipeline) -> None:
    assert rra("run", "experiment=quickstart", "seed=4") == 0
    (folder,) = rra.folders
    assert folder.name.endswith("_quickstart")
    assert str(folder) in rra.out
    assert "last (train: n = 100, k = 5, test: n = 50, k = 5)" in rra.out
    ((experiment, given, config),) = pipeline.runs
    assert (experiment.seed, given, config["experiment"], config["seed"]) == (4, folder, "quickstart", 4)
    for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
        assert (folder / ".hydra" / name).exists()
    log = (folder / "run.log").read_text()
    assert "fake work ..." in log
    assert "fake work: done in" in log


def test_the_users_fault_is_2_without_traceback_and_leaves_nothing(rra: Command, pipeline: FakePipeline) -> None:
    def missing(*_: object) -> None:
        raise UserError("no [bold]data[/bold] at /x", "put it there")

    pipeline.before = missing
    assert rra("run", "+experiment=quickstart") == 2
    assert rra.err == "error: no [bold]data[/bold] at /x\nhint: put it there\n"
    assert not rra.outputs.exists()


def test_a_folder_that_the_user_made_is_left_to_her(rra: Command, pipeline: FakePipeline, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "mine" / "run").mkdir(parents=True)
    pipeline.before = interrupt
    assert rra("run", "+experiment=quickstart", f"hydra.run.dir={tmp_path}/mine/run") == 130
    assert list((tmp_path / "mine").iterdir()) == [tmp_path / "mine" / "run"]
    assert list((tmp_path / "mine" / "run").iterdir()) == []
    assert rra("run", "+experiment=quickstart", f"hydra.run.dir={tmp_path}/mine/other/run") == 130
    assert list((tmp_path / "mine").iterdir()) == [tmp_path / "mine" / "run"]


def test_our_fault_is_1_with_its_traceback_on_the_screen_and_in_the_log(rra: Command, pipeline: FakePipeline) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    pipeline.act = broken
    assert rra("run", "+experiment=quickstart") == 1
    (folder,) = rra.folders
    for text in (rra.err, (folder / "run.log").read_text(), (folder / "status.json").read_text()):
        assert "Traceback" in text
        assert "RuntimeError: a bug" in text
    assert "in broken" in rra.err


def test_a_job_that_exits_is_our_fault(rra: Command, pipeline: FakePipeline) -> None:
    pipeline.act = lambda *_: sys.exit(0)
    assert rra("run", "+experiment=quickstart") == 1
    assert "SystemExit" in rra.err


def test_interrupted_is_130(rra: Command, pipeline: FakePipeline) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    pipeline.act = interrupt
    assert rra("run", "+experiment=quickstart") == 130
    assert "resume" in rra.err
    assert "Traceback" not in rra.err
    (folder,) = rra.folders
    assert '"state": "interrupted"' in (folder / "status.json").read_text()


def test_a_run_does_not_hear_of_an_earlier_ones_fault(rra: Command, pipeline: FakePipeline) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    pipeline.act = broken
    assert rra("run", "-m", "+experiment=quickstart", "seed=0,1") == 1
    pipeline.act = lambda *_: None
    assert rra("run", "+experiment=quickstart") == 0


@pytest.mark.usefixtures("pipeline")
def test_the_terminal_that_goes_away_is_no_fault(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m rra_cli ls | head -1", shell=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
