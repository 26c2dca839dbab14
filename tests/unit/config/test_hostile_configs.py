"""Configurations that would fill the memory, climb out of their folder, read the environment, or never end."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rra_cli.__main__ import main
from rra_cli.config.growth import growth_faults
from rra_cli.config.overrides import MOST_JOBS, check
from rra_cli.config.safety import file_faults, override_faults

GLOBAL = "# @package _global_\n"
DEPTH = 60


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RRA_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr("rra_cli.pipeline.run", lambda *_, **__: None)


def folder_of(tmp_path: Path, text: str, name: str = "experiment/evil.yaml") -> Path:
    path = tmp_path / "conf" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return tmp_path / "conf"


def chain(line: str) -> str:
    """`line` for every level; {i} is its number and {j} that of the one before."""
    return "".join(line.format(i=i, j=i - 1) for i in range(1, DEPTH))


BOMBS = {
    "aliases": "x0: &x0 [1]\n" + chain("x{i}: &x{i} [*x{j}, *x{j}]\n"),
    "merged mappings": "x0: &x0 {a: 1}\n" + chain("x{i}: &x{i} {{<<: [*x{j}, *x{j}]}}\n"),
    "texts": "x0: abcdefgh\n" + chain("x{i}: ${{x{j}}}${{x{j}}}\n"),
    "nodes": "x0: {a: 1}\n" + chain("x{i}: {{a: '${{x{j}}}', b: '${{x{j}}}'}}\n"),
    "lists": "x0: [1]\n" + chain("x{i}: ['${{x{j}}}', '${{x{j}}}']\n"),
    "relative": "x0: {a: 1}\n" + chain("x{i}: {{a: '${{..x{j}}}', b: '${{..x{j}}}'}}\n"),
    "selected": "x0: [1]\n" + chain("x{i}: ['${{oc.select:x{j}}}', '${{oc.select:x{j}}}']\n"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_would_fill_any_memory_is_refused_at_once(
    bomb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path, GLOBAL + BOMBS[bomb])
    began = time.monotonic()
    assert main(["run", "--config-dir", str(folder), "+experiment=evil"]) == 2
    error = capsys.readouterr().err
    assert time.monotonic() - began < 10
    assert "make more than 1" in error
    assert "Traceback" not in error


def test_interpolations_that_stay_small_pass() -> None:
    assert growth_faults({"a": 1, "b": "${a}${a}", "c": {"d": "${..b}", "e": ["${c.d}", "${a}"]}}) == []
    assert growth_faults({"m": {"name": "x"}, "e": "${rra.per:${m.name},{simclr:1000},800}", "l": ["${m}"] * 100}) == []


def test_an_interpolation_of_itself_is_left_to_omegaconf() -> None:
    assert growth_faults({"a": "${b}", "b": "${a}"}) == []


def test_a_computed_key_is_refused() -> None:
    assert growth_faults({"a": "b", "b": 1, "c": "${${a}}"}) == [
        "c: a key inside of ${...} must be written out, not put together from other values"
    ]


HOSTILE = {
    "a path out of the folder": ("defaults:\n  - ../../outside/evil\n", "no paths out of the folder"),
    "an option out of the folder": ("defaults:\n  - /model: ../../outside/evil\n", "no paths out of the folder"),
    "an option by a full path": ("defaults:\n  - model: /etc/evil\n", "no paths out of the folder"),
    "options out of the folder": ("defaults:\n  - metrics: [rra, ../x]\n", "no paths out of the folder"),
    "an option that is computed": ("defaults:\n  - model: '${oc.env:HOME}'\n", "no paths out of the folder"),
    "a resolver that makes nodes": ("model: '${oc.create:\"{a: 1}\"}'\n", "'${oc.create:' is refused"),
    "a resolver that reads text": ("model: '${oc.decode:\"{a: 1}\"}'\n", "'${oc.decode:' is refused"),
    "an unknown resolver": ("seed: '${eval:1+1}'\n", "'${eval:' is refused"),
    "a secret": ("store: {root: x}\nmethod: {name: '${oc.env:AWS_SECRET}'}\n", "the environment is read for"),
    "a secret, spaced": ("method: {name: '${ oc.env :AWS_SECRET}'}\n", "the environment is read for"),
    "a value of a megabyte": (f"method: {{name: {'x' * 200_000}}}\n", "characters is refused"),
    "a tag": ("a: !!python/object/apply:os.mkdir [x]\n", "cannot be read as YAML"),
    "a date that is none": ("a: 2001-99-99\n", "cannot be read as YAML"),
    "a number without end": (f"seed: {'9' * 5000}\n", "cannot be read as YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", "cannot be read as YAML"),
    "a list in the place of a name": ("defaults: [[[1]]]\n", ""),
    "a number in the place of a name": ("defaults:\n  - 1\n", ""),
    "a null in the place of a name": ("defaults:\n  - null: null\n", ""),
    "defaults of text": ("defaults: x\n", ""),
    "keys that are no texts": ("1: 2\nnull: 3\n", ""),
    "a zero byte in a path": ('hydra: {run: {dir: "a\\0b"}}\n', "control characters"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_named_and_refused(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, words = HOSTILE[case]
    outside = tmp_path / "outside" / "evil.yaml"
    outside.parent.mkdir()
    outside.write_text("name: mlp\n")
    folder = folder_of(tmp_path, GLOBAL + text)
    assert main(["run", "--config-dir", str(folder), "+experiment=evil"]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
    assert "not of your input" not in error


@pytest.mark.parametrize(
    "text",
    [
        "dataset: {root: '${oc.env:HOME}/data'}\n",
        "seed: ${oc.env:SLURM_ARRAY_TASK_ID}\n",
        "defaults:\n  - override /method/recipe@method: small_${method}\n",
        "method: {epochs: '${rra.per:${method.name},{simclr: 1000},800}'}\n",
    ],
)
def test_what_people_write_passes(text: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, GLOBAL + text)
    assert file_faults(folder / "experiment" / "evil.yaml", folder) == []


def test_a_pipe_a_device_and_a_folder_behind_a_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for make, words in (
        (lambda place: os.mkfifo(place / "pipe.yaml"), "not a regular file"),
        (lambda place: (place / "zero.yaml").symlink_to("/dev/zero"), "not a regular file"),
        (lambda place: (place / "model").symlink_to(tmp_path), "a link to a folder is refused"),
    ):
        folder = tmp_path / f"conf{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        make(folder)
        assert main(["run", "--config-dir", str(folder), "+experiment=quickstart"]) == 2
        assert words in capsys.readouterr().err


OVERRIDES = {
    "seed=" + "9" * 5000: "not understood",
    "model.depth=" + "[" * 3000: "",
    "a=" + "{b:" * 2000: "",
    "model.depth=${eval:1}": "'${eval:' is refused",
    'model.depth=${oc.create:"x"}': "'${oc.create:' is refused",
    "model=../../etc/passwd": "there is no '../../etc/passwd'",
    "method=/etc/passwd": "there is no '/etc/passwd'",
    "hydra.run.dir=a\0b": "control characters",
    "seed=glob(*)": "",
}


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda text: text[:30])
def test_a_hostile_override_is_named_and_refused(override: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "+experiment=quickstart", override]) == 2
    error = capsys.readouterr().err
    assert OVERRIDES[override] in error
    assert "Traceback" not in error


def test_a_sweep_without_end_is_refused_at_once() -> None:
    began = time.monotonic()
    assert "more than 100,000 values" in check(["seed=range(1000000000000)"], {}, sweep=True).faults[0]
    many = check(["seed=range(1000)", "neighbors.k=range(1,1000)"], {}, sweep=True)
    assert many.faults == (f"a sweep of 999,000 jobs; at most {MOST_JOBS:,} are possible",)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/b", "..", "a b", "", "x\n", "<script>"])
@pytest.mark.parametrize("group", ["metrics", "transfer", "compare.engines"])
def test_names_of_the_users_choice_are_no_paths(group: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    setting = {"metrics": "id_twonn", "transfer": "digits", "compare.engines": "exact"}[group]
    quoted = name.replace("\n", "\\n")
    assert main(["run", "+experiment=quickstart", f"+{group}={{'{quoted}': {{name: {setting}}}}}"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_value_is_never_a_program() -> None:
    assert override_faults("hydra.launcher.setup", ["touch x"]) != []
    assert override_faults("model.depth", 3) == []
