"""`rra run`: arguments, folders, and Hydra's own flags."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from command import Command, FakePipeline

from rra_cli.cli.arguments import parse
from rra_cli.errors import UserError


def test_flags_and_overrides_come_in_any_order() -> None:
    args = parse("run", ["a=1", "-m", "b=2", "--config-dir", "x", "+c=3", "-cd", "y", "~d"])
    assert args.overrides == ["a=1", "b=2", "+c=3", "~d"]
    assert args.multirun
    assert args.config_dir == [Path("x"), Path("y")]


@pytest.mark.parametrize("arguments", [["--info", "a=1"], ["a=1", "--info"], ["-i", "-m"], ["--info", "all", "a=1"]])
def test_info_alone_means_all(arguments: list[str]) -> None:
    assert parse("run", arguments).info == "all"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--multrun"], "there is no --multrun; did you mean '--multirun'"),
        (["--cfg", "jb"], "invalid choice: 'jb'"),
        (["--cfg"], "expected one argument"),
    ],
)
def test_a_faulty_flag_is_named(arguments: list[str], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        parse("run", arguments)
    assert caught.value.hint == "`rra run --help` explains the arguments"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-m", "--cfg", "job"], "--multirun and --cfg exclude each other"),
        (["--resolve"], "--resolve and --package belong to --cfg"),
        ([], "nothing to run"),
        (["--config-dir", "/nonexistent", "seed=1"], "--config-dir /nonexistent: there is no such folder"),
    ],
)
def test_faults_of_the_command(arguments: list[str], words: str, rra: Command) -> None:
    assert rra("run", *arguments) == 2
    assert words in rra.err
    assert not rra.outputs.exists()


def test_several_faults_are_listed_line_by_line(rra: Command) -> None:
    assert rra("run", "+experiment=quickstart", "seed=ten", "modle=x", "method.epochs=many") == 2
    lines = rra.err.splitlines()
    assert lines[0] == "3 errors:"
    assert lines[1:4] == [
        "  modle: unknown key; did you mean 'model'?",
        "  seed: expected an integer, got 'ten'",
        "  method.epochs: expected an integer, got 'many'",
    ]
    assert lines[4].startswith("hint: ")
    assert not rra.outputs.exists()


def test_cfg_prints_the_configuration(rra: Command) -> None:
    assert rra("run", "+experiment=quickstart", "seed=7", "--cfg", "job") == 0
    assert "\nseed: 7\n" in rra.out
    assert "hydra:" not in rra.out
    assert rra("run", "+experiment=quickstart", "--cfg=job", "-p", "neighbors.k", "neighbors.k=3") == 0
    assert rra.out == "3\n"
    assert rra("run", "--cfg", "hydra") == 0
    assert "hydra:" in rra.out
    assert not rra.outputs.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dataset.n_sampels=3"], "dataset.n_sampels: unknown key; did you mean 'n_samples'"),
        (["model=mpl"], "model: there is no 'mpl'"),
        (["--package", "nosuch"], "Hydra ended with code 1"),
    ],
)
def test_cfg_finds_faults_too(arguments: list[str], words: str, rra: Command) -> None:
    assert rra("run", "--cfg", "job", *arguments) == 2
    assert words in rra.err
    assert "Traceback" not in rra.err


@pytest.mark.parametrize("flags", [["--info", "searchpath"], ["--info", "defaults"], ["--hydra-help"]])
def test_hydras_information_is_shown(flags: list[str], rra: Command) -> None:
    handlers = [*logging.getLogger().handlers]
    try:
        assert rra("run", *flags) == 0, rra.err
    finally:
        logging.getLogger().handlers[:] = handlers
    assert rra.out


@pytest.mark.usefixtures("pipeline")
def test_the_run_folder_is_dated_to_the_microsecond_and_named_by_the_experiment(rra: Command) -> None:
    assert rra("run", "+experiment=quickstart") == 0
    assert rra("run", "model=mlp") == 0
    names = [folder.name for folder in rra.folders]
    assert re.fullmatch(r"\d\d-\d\d-\d\d-\d{6}_quickstart", names[0])
    assert names[1].endswith("_custom")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", rra.folders[0].parent.name)


@pytest.mark.parametrize("name", ["ä b", "x=(1),2", "it's", "[a]", "a\\b"])
def test_a_run_folder_of_any_name(name: str, rra: Command, pipeline: FakePipeline, tmp_path: Path) -> None:
    store = tmp_path / f"store {name}"
    assert rra("run", "+experiment=quickstart", f"hydra.run.dir={tmp_path / name}", f"store.root={store}") == 0, rra.err
    ((experiment, folder, _),) = pipeline.runs
    assert folder == tmp_path / name
    assert experiment.store_root == store
    assert (folder / ".hydra" / "config.yaml").exists()
    assert str(folder) in rra.out


def test_a_folder_may_be_entered_again_only_with_an_equal_configuration(
    rra: Command, pipeline: FakePipeline, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["run", "+experiment=quickstart", f"hydra.run.dir={tmp_path / 'run'}"]
    assert rra(*arguments) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if "/." in str(path) and path.is_file()}
    assert rra(*arguments) == 0
    assert rra(*arguments, "seed=1") == 2
    assert "another configuration" in rra.err
    assert "seed" in rra.err
    assert "could not be written" not in caplog.text  # that would be the same fault once more
    assert before
    for path, content in before.items():
        assert path.read_bytes() == content, "Hydra's record of another run is not written over"


def test_a_folder_of_other_things_is_not_entered(rra: Command, pipeline: FakePipeline, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    assert rra("run", "+experiment=quickstart", f"hydra.run.dir={tmp_path / 'home'}") == 2
    assert "holds other things than a run" in rra.err
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letter.txt"]
    assert pipeline.runs == []


def test_a_folder_that_cannot_be_made_is_named(rra: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert rra("run", "+experiment=quickstart", f"hydra.run.dir={tmp_path / 'file' / 'run'}") == 2
    assert str(tmp_path / "file") in rra.err
    assert "Traceback" not in rra.err


def test_a_reference_that_leads_nowhere_is_the_users_fault(rra: Command) -> None:
    assert rra("run", "+experiment=quickstart", "hydra.run.dir=${nosuch}") == 2
    assert "nosuch" in rra.err
    assert "Traceback" not in rra.err


@pytest.mark.usefixtures("pipeline")
def test_sys_argv_and_environment_are_left_as_they_were(rra: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import sys

    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    before = [*sys.argv]
    assert rra("run", "+experiment=quickstart") == 0
    assert sys.argv == before
    assert "HYDRA_FULL_ERROR" not in os.environ
