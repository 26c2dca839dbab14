"""`rra run --from`: the same again from a folder alone, what differs from then, and what may not be changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from command import Command, FakePipeline

from rra_cli.core import sweepdir
from rra_cli.core.provenance import changes_since, command_line
from rra_cli.core.runfiles import read_config


def first_run(rra: Command, folder: Path, *overrides: str) -> Path:
    assert rra("run", "+experiment=quickstart", "seed=3", "method.epochs=2", *overrides, f"hydra.run.dir={folder}") == 0
    return folder


def test_a_run_again_is_the_same_experiment_in_a_new_folder(
    rra: Command, pipeline: FakePipeline, tmp_path: Path
) -> None:
    source = first_run(rra, tmp_path / "first")
    assert rra("run", "--from", str(source)) == 0
    (first, _, one), (second, folder, other) = pipeline.runs
    assert first == second
    assert first.name == second.name == "quickstart"
    assert one == other
    assert folder in rra.folders
    assert read_config(folder) == read_config(source)
    assert str(folder) in rra.out


def test_the_folder_alone_is_enough(rra: Command, pipeline: FakePipeline, tmp_path: Path) -> None:
    """Neither the user's own configurations nor Hydra's record are read."""
    own = tmp_path / "conf" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\ndefaults:\n  - override /model: mlp\nseed: 7\n")
    arguments = ["--config-dir", str(tmp_path / "conf"), "+experiment=mine", f"hydra.run.dir={tmp_path / 'first'}"]
    assert rra("run", *arguments) == 0
    (own / "mine.yaml").unlink()
    for path in (tmp_path / "first" / ".hydra").iterdir():
        path.unlink()
    (tmp_path / "first" / ".hydra").rmdir()
    assert rra("run", "--from", str(tmp_path / "first")) == 0
    assert pipeline.runs[0][0] == pipeline.runs[1][0]
    assert pipeline.runs[1][0].name == "mine"


def test_how_the_work_is_done_may_be_changed(rra: Command, pipeline: FakePipeline, tmp_path: Path) -> None:
    source = first_run(rra, tmp_path / "first")
    target = tmp_path / "second"
    changes = ["runtime.threads=3", f"store.root={tmp_path / 'other store'}", f"hydra.run.dir={target}"]
    assert rra("run", "--from", str(source), *changes) == 0
    experiment, folder, config = pipeline.runs[-1]
    assert folder == target
    assert (experiment.runtime.threads, experiment.store_root) == (3, tmp_path / "other store")
    assert config["runtime"]["threads"] == 3
    assert read_config(source)["runtime"]["threads"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["seed=4"], "seed: would be another run"),
        (["model=mlp"], "model: would be another run"),
        (["method.epochs=3"], "method.epochs: would be another run"),
        (["~compare"], "compare: would be another run"),
        (["runtime.threads=0"], "threads is 0"),
        (["runtime.thraeds=1"], "unknown key"),
        (["-m"], "--from and --multirun exclude each other"),
        (["--cfg", "job"], "exclude each other"),
        (["--config-dir", "."], "--from needs no --config-dir"),
        (["hydra/launcher=joblib"], "is one run: it needs no launcher"),
        (["hydra.callbacks.x._target_=os.mkdir"], "names no code"),
    ],
)
def test_what_would_be_another_run_is_refused(
    arguments: list[str], words: str, rra: Command, pipeline: FakePipeline, tmp_path: Path
) -> None:
    source = first_run(rra, tmp_path / "first")
    assert rra("run", "--from", str(source), *arguments) == 2
    assert words in rra.err
    assert len(pipeline.runs) == 1
    assert rra.folders == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("a: [", "cannot be read"),
        ("- 1", "is not the configuration of a run"),
        ("seed: 1", "is not the configuration of a run"),
        ("dataset: !!python/object/apply:os.getcwd []", "cannot be read"),
        ("a: " + "[" * 5000, "cannot be read"),
        ("dataset: {name: digits}\n_target_: os.mkdir\nmodel: {name: mlp}", "_target_: unknown key"),
        ("dataset: {name: nothing}\nmodel: {name: mlp}", "there is no dataset named 'nothing'"),
    ],
)
def test_a_folder_that_is_no_run_is_named(
    content: str | None, words: str, rra: Command, pipeline: FakePipeline, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    assert rra("run", "--from", str(tmp_path)) == 2
    assert words in rra.err
    assert rra("run", "--from", str(tmp_path / "nowhere")) == 2
    assert "there is no such folder" in rra.err
    assert pipeline.runs == []


def test_a_run_of_ones_own_files_is_repeated_without_what_it_was_not_trained_with(
    rra: Command, pipeline: FakePipeline, tmp_path: Path
) -> None:
    (tmp_path / "layers").mkdir()
    np.save(tmp_path / "layers" / "0_a.npy", np.zeros((5, 2), np.float32))
    place = f"activations.path={tmp_path / 'layers'}"
    assert (
        rra("run", "+experiment=from_activations", place, "neighbors.k=2", f"hydra.run.dir={tmp_path / 'first'}") == 0
    )
    assert "seed" not in read_config(tmp_path / "first")
    assert rra("run", "--from", str(tmp_path / "first")) == 0
    assert pipeline.runs[0][2] == pipeline.runs[1][2]
    assert "says nothing of" not in rra.err


def test_what_an_older_version_did_not_know_is_told(rra: Command, pipeline: FakePipeline, tmp_path: Path) -> None:
    source = first_run(rra, tmp_path / "first")
    config = read_config(source)
    del config["compare"]
    (source / "config.yaml").write_text(yaml.safe_dump(config))
    assert rra("run", "--from", str(source)) == 0
    assert "says nothing of compare: the present defaults are taken" in rra.err


def test_other_versions_and_other_data_are_told(rra: Command, pipeline: FakePipeline, tmp_path: Path) -> None:
    source = first_run(rra, tmp_path / "first")
    path = source / "provenance.json"
    record = json.loads(path.read_text())
    record["packages"]["rra"], record["data"] = "0.0.9", {"x.npy": "sha256:00"}
    path.write_text(json.dumps(record))
    assert rra("run", "--from", str(source)) == 0
    assert "rra: 0.0.9 then, " in rra.err
    path.unlink()
    assert rra("run", "--from", str(source)) == 0
    assert "whether versions differ is not known" in rra.err


def test_what_differs_between_two_records() -> None:
    then = {
        "python": {"version": "3.11.1"},
        "packages": {"torch": "2.11.0", "numpy": "2.1", "rich": "1"},
        "git": {"package": {"commit": "a" * 40, "changed": [" M x.py"]}},
        "hardware": {"cpu": "one", "gpus": [{"name": "H100"}], "torch_threads": 4},
    }
    now = {
        "python": {"version": "3.12.0"},
        "packages": {"torch": "2.13.0", "numpy": "2.1", "rich": "2"},
        "git": {"package": {"commit": "b" * 40, "changed": []}},
        "hardware": {"cpu": "one", "gpus": [], "torch_threads": None},
    }
    assert changes_since(then, now) == [
        "Python: 3.11.1 then, 3.12.0 now",
        "torch: 2.11.0 then, 2.13.0 now",
        f"commit of rra: {'a' * 40} then, {'b' * 40} now",
        "GPUs: H100 then, none now",
        "uncommitted changes of rra, whose content is not recorded: 1 then, 0 now",
    ]
    assert changes_since(now, now) == []
    assert changes_since({}, {}) == []


def test_the_command_is_one_that_a_person_would_type() -> None:
    assert command_line(["/venv/bin/python", "/venv/bin/rra", "run", "a=[b, c]"]) == "rra run 'a=[b, c]'"
    assert command_line(["python", "-m", "rra_cli", "run"]) == "python -m rra_cli run"


def test_a_sweep_again_runs_the_same_jobs_in_a_folder_of_its_own(
    rra: Command, pipeline: FakePipeline, tmp_path: Path
) -> None:
    arguments = ["-m", "+experiment=quickstart", "seed=0,1", f"hydra.sweep.dir={tmp_path / 'first'}"]
    assert rra("run", *arguments) == 0
    # A job that never began has no configuration yet: it is composed.
    for path in (tmp_path / "first" / "seed=1").glob("*"):
        if path.is_file():
            path.unlink()
    before = [experiment for experiment, _, _ in pipeline.runs]
    for _ in range(2):
        assert rra("run", "--from", str(tmp_path / "first"), "runtime.threads=1") == 0
        again = [experiment for experiment, _, _ in pipeline.runs[2:]]
        assert [experiment.seed for experiment in again] == [0, 1], "and the second time nothing is missing"
        assert [experiment.runtime.threads for experiment in again] == [1, 1]
        assert [experiment.model for experiment in again] == [experiment.model for experiment in before]
    (folder,) = rra.sweeps
    assert [job.folder for job in sweepdir.read(folder).jobs] == ["seed=0", "seed=1"]
    assert rra("run", "--from", str(tmp_path / "first"), f"hydra.sweep.dir={tmp_path / 'first'}") == 2
    assert "is the sweep itself" in rra.err


def test_a_strangers_folder_does_not_say_where_files_are_written(
    rra: Command, pipeline: FakePipeline, tmp_path: Path
) -> None:
    """Control: where runs have used that store, it is used again."""
    elsewhere = tmp_path / "elsewhere"
    places = [f"store.root={elsewhere}", "dataset=mnist", "dataset.download=true", f"dataset.root={elsewhere}"]
    source = first_run(rra, tmp_path / "first", *places)
    assert rra("run", "--from", str(source)) == 0
    assert f"there is no store in {elsewhere}, as was recorded" in rra.err
    assert "dataset.download=true does not count for the dataset.root" in rra.err
    experiment = pipeline.runs[-1][0]
    assert experiment.store_root == rra.outputs / "store"
    assert experiment.dataset.download is False  # type: ignore[attr-defined]
    assert rra("run", "--from", str(source), "dataset.download=true") == 0
    assert pipeline.runs[-1][0].dataset.download is True  # type: ignore[attr-defined]
    (elsewhere / "refs").mkdir(parents=True)
    assert rra("run", "--from", str(source)) == 0
    assert pipeline.runs[-1][0].store_root == elsewhere


def test_a_strangers_sweep_does_not_say_where_files_are_written(
    rra: Command, pipeline: FakePipeline, tmp_path: Path
) -> None:
    """Not of its jobs that have begun, nor of those that have not."""
    arguments = ["-m", "+experiment=quickstart", "seed=0,1", f"store.root={tmp_path / 'elsewhere'}"]
    assert rra("run", *arguments, f"hydra.sweep.dir={tmp_path / 'first'}") == 0
    for path in (tmp_path / "first" / "seed=1").glob("*"):
        if path.is_file():
            path.unlink()
    assert rra("run", "--from", str(tmp_path / "first")) == 0
    assert [experiment.seed for experiment, _, _ in pipeline.runs[2:]] == [0, 1]
    assert {experiment.store_root for experiment, _, _ in pipeline.runs[2:]} == {rra.outputs / "store"}
