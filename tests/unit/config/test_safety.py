"""No configuration runs code. Every attack here is tried on the real command, and a witness shows that nothing ran."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rra_cli.__main__ import main
from rra_cli.config.safety import composed_faults, file_faults, override_faults


@pytest.fixture
def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path that an attack makes if it succeeds; the pipeline is replaced so that nothing else does anything."""
    monkeypatch.setenv("RRA_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr("rra_cli.pipeline.run", lambda *_, **__: None)
    return tmp_path / "witness"


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "conf"


GLOBAL = "# @package _global_\n"
HARMLESS = GLOBAL + "# Mine.\ndefaults:\n  - override /model: mlp\nmethod:\n  epochs: 1\n"

# Every value is a dictionary of files under a --config-dir; `WITNESS` is replaced by the path that an attack makes.
FILE_ATTACKS: dict[str, dict[str, str]] = {
    "callback": {
        "experiment/evil.yaml": GLOBAL
        + "hydra:\n  callbacks:\n    x:\n      _target_: pathlib.Path.mkdir\n      self: WITNESS\n"
    },
    "launcher": {"experiment/evil.yaml": GLOBAL + "hydra:\n  launcher:\n    _target_: os.mkdir\n    path: WITNESS\n"},
    "sweeper": {"experiment/evil.yaml": GLOBAL + "hydra:\n  sweeper:\n    _target_: os.mkdir\n    path: WITNESS\n"},
    "logging handler by ()": {
        "experiment/evil.yaml": GLOBAL
        + "hydra:\n  job_logging:\n    root: {handlers: [x]}\n    handlers:\n      x: {(): os.mkdir, path: WITNESS}\n"
    },
    "logging handler by class": {
        "experiment/evil.yaml": GLOBAL
        + "hydra:\n  job_logging:\n    root: {handlers: [x]}\n"
        + "    handlers:\n      x: {class: logging.FileHandler, filename: WITNESS}\n"
    },
    "Hydra's own logging": {
        "experiment/evil.yaml": GLOBAL
        + "hydra:\n  hydra_logging:\n    root: {handlers: [x]}\n"
        + "    handlers:\n      x: {class: logging.FileHandler, filename: WITNESS}\n"
    },
    "package header": {
        "experiment/evil.yaml": "# @package hydra.job_logging\nroot: {handlers: [x]}\n"
        "handlers:\n  x: {class: logging.FileHandler, filename: WITNESS}\n"
    },
    "package of a defaults entry": {
        "experiment/evil.yaml": GLOBAL + "defaults:\n  - /parts@hydra.job_logging: evil\n",
        "parts/evil.yaml": "root: {handlers: [x]}\nhandlers:\n  x: {class: logging.FileHandler, filename: WITNESS}\n",
    },
    "a file that another one lifts to the top": {
        "experiment/evil.yaml": GLOBAL + "defaults:\n  - /parts@_global_: evil\n",
        "parts/evil.yaml": "hydra:\n  job_logging:\n    root: {handlers: [x]}\n"
        "    handlers:\n      x: {class: logging.FileHandler, filename: WITNESS}\n",
    },
    "a group of Hydra's": {
        "experiment/evil.yaml": GLOBAL + "defaults:\n  - override /hydra/job_logging: evil\n",
        "hydra/job_logging/evil.yaml": "version: 1\nroot: {handlers: [x]}\n"
        "handlers:\n  x: {class: logging.FileHandler, filename: WITNESS}\n",
    },
    "a callback group": {
        "experiment/evil.yaml": GLOBAL + "defaults:\n  - /hydra/callbacks: evil\n",
        "hydra/callbacks/evil.yaml": "x: {_target_: os.mkdir, path: WITNESS}\n",
    },
    "environment of the job": {"experiment/evil.yaml": GLOBAL + "hydra:\n  job:\n    env_set: {PYTHONPATH: WITNESS}\n"},
    "search path": {"experiment/evil.yaml": GLOBAL + "hydra:\n  searchpath: [pkg://evil]\n"},
    "a mapping made of text": {
        "experiment/evil.yaml": GLOBAL + 'hydra:\n  launcher: ${oc.create:"{_target_: os.mkdir, path: WITNESS}"}\n'
    },
    "a mapping made of text in an allowed field": {
        "experiment/evil.yaml": GLOBAL
        + 'hydra:\n  launcher:\n    name: ${oc.create:"{_target_: os.mkdir, path: WITNESS}"}\n'
    },
    "_target_ outside of hydra": {
        "experiment/evil.yaml": GLOBAL + "model:\n  _target_: os.mkdir\n  path: WITNESS\n",
    },
    "_target_ deep in a list": {"experiment/evil.yaml": GLOBAL + "metrics:\n  x: [{y: {_partial_: true}}]\n"},
}


@pytest.mark.parametrize("attack", FILE_ATTACKS)
@pytest.mark.parametrize("multirun", [False, True], ids=["run", "sweep"])
def test_files_of_a_config_dir_run_nothing(
    attack: str, multirun: bool, witness: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: text.replace("WITNESS", str(witness)) for name, text in FILE_ATTACKS[attack].items()}
    folder = written(tmp_path, files)
    sweep = ["-m", "seed=0,1"] if multirun else []
    code = main(["run", *sweep, "--config-dir", str(folder), "+experiment=evil", "model=mlp"])
    error = capsys.readouterr().err
    assert code == 2, error
    assert "Traceback" not in error
    assert not witness.exists()
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("attack", FILE_ATTACKS)
def test_the_last_net_alone_stops_files_too(
    attack: str, witness: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the look at the files' text, the composed configuration is still refused (or cannot be composed)."""
    monkeypatch.setattr("rra_cli.config.compose.file_faults", lambda *_: [])
    files = {name: text.replace("WITNESS", str(witness)) for name, text in FILE_ATTACKS[attack].items()}
    code = main(["run", "--config-dir", str(written(tmp_path, files)), "+experiment=evil"])
    assert code == 2, capsys.readouterr().err
    assert not witness.exists()


UNGUARDED = """
import sys
from rra_cli import pipeline
from rra_cli.__main__ import main
from rra_cli.config import compose
compose.file_faults = compose.composed_faults = lambda *_: []
pipeline.run = lambda *_, **__: None
sys.exit(main())
"""


@pytest.mark.long
def test_the_attacks_work_without_the_nets(witness: Path, tmp_path: Path) -> None:
    """The control: with all nets cut, Hydra does what such a file says."""
    text = FILE_ATTACKS["logging handler by class"]["experiment/evil.yaml"].replace("WITNESS", str(witness))
    folder = written(tmp_path, {"experiment/evil.yaml": text})
    # In a process of its own: Hydra leaves the handlers open.
    done = subprocess.run(
        [sys.executable, "-c", UNGUARDED, "run", "--config-dir", str(folder), "+experiment=evil"], capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert witness.exists()


def test_a_harmless_file_of_a_config_dir_is_used(
    witness: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path, {"experiment/mine.yaml": HARMLESS})
    assert main(["run", "--config-dir", str(folder), "+experiment=mine"]) == 0, capsys.readouterr().err


OVERRIDE_ATTACKS = [
    "+hydra.callbacks.x._target_=os.mkdir",
    "+hydra.callbacks.x={_target_: os.mkdir, path: WITNESS}",
    "hydra.callbacks={x: {_target_: os.mkdir, path: WITNESS}}",
    "hydra={callbacks: {x: {_target_: os.mkdir, path: WITNESS}}}",
    "hydra.launcher={_target_: os.mkdir, path: WITNESS}",
    "hydra.launcher._target_=os.mkdir",
    "hydra.launcher.setup=[touch WITNESS]",
    "hydra.launcher.python=WITNESS",
    '+hydra.launcher.name=${oc.create:"{_target_: os.mkdir}"}',
    "+hydra.launcher.additional_parameters={x: 'a\nb'}",
    "hydra.sweeper._target_=os.mkdir",
    "hydra.sweeper.params={seed: '1'}",
    "hydra.job_logging.handlers.file.class=subprocess.Popen",
    "+hydra.job_logging.handlers.x={(): os.mkdir}",
    "hydra.hydra_logging.root.level=INFO",
    "hydra.searchpath=[pkg://evil]",
    "+hydra.job.env_set.LD_PRELOAD=WITNESS",
    "hydra.job.chdir=true",
    "hydra.output_subdir=x",
    "hydra.mode=MULTIRUN",
    "hydra/job_logging=stdout",
    "hydra/callbacks=x",
    "hydra/sweeper=basic",
    "+hydra/env=x",
    "hydra/launcher=../x",
    "hydra/launcher@hydra.callbacks=basic",
    "+model@hydra.callbacks.x=mlp",
    "+model@hydra=mlp",
    "model._target_=os.mkdir",
    "+metrics.x={_target_: os.mkdir}",
    "+metrics.x=[{_partial_: true}]",
    "~hydra.launcher",
]


@pytest.mark.parametrize("attack", OVERRIDE_ATTACKS)
def test_overrides_run_nothing(attack: str, witness: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["run", "+experiment=quickstart", attack.replace("WITNESS", str(witness))])
    error = capsys.readouterr().err
    assert code == 2, error
    assert "Traceback" not in error
    assert not witness.exists()
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config-path", "."],
        ["-cp", "."],
        ["--config-path=."],
        ["--config-name", "x"],
        ["-cn", "x"],
        ["--experimental-rerun", "x.pickle"],
        ["--shell-completion", "install=bash"],
    ],
)
def test_flags_that_would_load_something_else_are_refused(
    arguments: list[str], witness: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "+experiment=quickstart", *arguments]) == 2
    assert "is not available" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hydra.run.dir", "/tmp/${now:%Y}"),
        ("hydra.sweep.dir", "x"),
        ("hydra.sweep.subdir", "${hydra.job.num}"),
        ("hydra.verbose", True),
        ("hydra/launcher", "submitit_slurm"),
        ("hydra.launcher.partition", "gpu"),
        ("hydra.launcher.timeout_min", 60),
        ("hydra.launcher.additional_parameters", {"reservation": "mine"}),
        ("hydra.launcher.additional_parameters.reservation", "mine"),
        ("hydra.job.config.override_dirname.exclude_keys", ["seed"]),
        ("dataset.n_samples", {"train": 3}),
        ("model", "mlp"),
    ],
)
def test_what_is_allowed_passes(key: str, value: Any) -> None:
    assert override_faults(key, value) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "cannot be read as YAML"),
        ("- a\n- b\n", "expected a mapping, found a list"),
        ("a: !!python/object/apply:os.getcwd []\n", "cannot be read as YAML"),
        ("defaults:\n  - '@'\n", "is not understood"),
        ("a: &again [*again]\n", "an alias (*name) stands inside of its own anchor"),
        ("a: " + "[" * 5000, "nested too deeply"),
    ],
)
def test_files_that_are_no_configuration_are_named(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model" / "x.yaml"
    path.parent.mkdir()
    path.write_text(text)
    (fault,) = file_faults(path, tmp_path)
    assert fault.startswith("model/x.yaml: ")
    assert words in fault


def test_an_empty_file_and_a_launcher_by_name_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for text in (
        "",
        "a: &again [1]\nb: *again\n",
        GLOBAL + "defaults:\n  - override /hydra/launcher: submitit_local\nhydra:\n  sweep: {dir: x}\n",
    ):
        path.write_text(text)
        assert file_faults(path, tmp_path) == []


def test_the_composed_node_may_differ_in_allowed_places_only() -> None:
    trusted = {"hydra": {"run": {"dir": ""}, "callbacks": {}, "runtime": {"cwd": "a"}}, "seed": 0}
    same: Callable[..., dict[str, Any]] = lambda **hydra: {"hydra": {**trusted["hydra"], **hydra}, "seed": 1}  # noqa: E731
    assert composed_faults(same(run={"dir": "x"}, runtime={"cwd": "b"}), trusted) == []
    assert composed_faults(same(callbacks={"x": {"y": 1}}), trusted)[-1].startswith(
        "hydra.callbacks.x.y: may not be set"
    )
    without = {"hydra": {"run": {"dir": ""}}, "seed": 0}
    assert composed_faults(without, trusted)[0].startswith("hydra.callbacks: may not be set")
