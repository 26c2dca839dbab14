"""Provenance names the code, machine and data, and nothing secret."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from rra_cli.core.provenance import cpu_model, git_state, gpu_driver, gpus, provenance


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "a.py").write_text("1")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-q", "-m", "first")
    return folder


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_clean_and_a_changed_working_directory(repository: Path) -> None:
    (repository / "deep").mkdir()
    clean = git_state(repository / "deep")
    assert clean is not None
    assert clean["commit"] == git(repository, "rev-parse", "HEAD")
    assert clean["branch"] == "main"
    assert clean["dirty"] is False
    (repository / "a.py").write_text("2")
    (repository / "new.py").write_text("3")
    changed = git_state(repository)
    assert changed is not None
    assert changed["dirty"] is True
    assert changed["changed"] == [" M a.py", "?? new.py"]


def test_no_repository_no_git_and_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None
    git(tmp_path, "init", "-q")
    empty = git_state(tmp_path)
    assert empty is not None
    assert empty["commit"] is None
    monkeypatch.setenv("PATH", "/nonexistent")
    assert git_state(tmp_path) is None


@pytest.mark.parametrize("key", ["core.fsmonitor", "filter.x.clean"])
def test_a_repositorys_configuration_runs_no_program(repository: Path, tmp_path: Path, key: str) -> None:
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    trap.chmod(0o755)
    git(repository, "config", key, str(trap))
    (repository / ".gitattributes").write_text("* filter=x\n")
    for path in (path for path in repository.rglob("*") if path.is_file() and ".git" not in path.parts):
        os.utime(path, (1, 1))  # so that git looks into it
    state = git_state(repository)
    assert state is not None
    assert (state["dirty"] is None) == (key == "filter.x.clean"), "what cannot be asked for is not known"
    assert not (tmp_path / "ran").exists()
    git(repository, "status")  # negative control: the trap works
    assert (tmp_path / "ran").exists()


def test_the_record_is_json_and_names_what_was_given(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_JWT", "secret-token")
    monkeypatch.setenv("MY_PASSWORD", "secret-word")
    monkeypatch.setenv("RRA_OUTPUTS", "/some place")
    record = provenance(
        seeds={"seed": 1, "subset_seed": 0}, checksums={"x.npy": "sha256:00"}, argv=["rra", "run"], cwd=repository
    )
    text = json.dumps(record, allow_nan=False)
    assert "secret" not in text
    assert record["slurm"] == {"SLURM_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "3"}
    assert record["argv"] == ["rra", "run"]
    assert record["command"] == "rra run"
    assert record["cwd"] == str(repository)
    assert record["environment"]["RRA_OUTPUTS"] == "/some place"
    assert record["seeds"] == {"seed": 1, "subset_seed": 0}
    assert record["data"] == {"x.npy": "sha256:00"}
    assert record["git"]["working_directory"]["root"] == str(repository.resolve())
    assert record["python"]["version"] == platform.python_version()
    assert record["packages"]["numpy"] == metadata.version("numpy")
    assert record["packages"]["rra"] == metadata.version("rra")
    hardware = record["hardware"]
    assert hardware["host"] == platform.node()
    assert 1 <= hardware["usable_cores"] <= hardware["logical_cores"]
    assert hardware["memory_bytes"] > 10**8


def test_collecting_does_not_load_torch() -> None:
    code = (
        "import sys; from rra_cli.core.provenance import provenance; provenance(seeds={}, checksums={}); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_processor_as_its_maker_writes_it(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nmodel name\t: Other\n")
    assert cpu_model(tmp_path / "cpuinfo") == "Some CPU @ 2.00GHz"
    assert cpu_model(tmp_path / "absent") == (platform.processor() or platform.machine())


def test_the_driver_as_it_names_itself(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.1\nGCC version: 12\n")
    assert gpu_driver(tmp_path / "version") == "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.1"
    (tmp_path / "empty").write_text("")
    assert gpu_driver(tmp_path / "empty") is gpu_driver(tmp_path / "absent") is None


def test_gpus_are_named_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert gpus(tmp_path) == []
    (tmp_path / "0000:01:00.0").mkdir()
    (tmp_path / "0000:01:00.0" / "information").write_text("Model: \t\t NVIDIA H100\nIRQ:   \t\t 5\n")
    assert gpus(tmp_path) == [{"name": "NVIDIA H100"}]
