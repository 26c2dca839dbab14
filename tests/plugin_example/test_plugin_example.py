"""An installed package adds a model: found by its name in a fresh process, and by nobody else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from install_example import HERE, install_example

FIND = """
import torch
from rra_cli.core.component import component, plugins
model = component("model", "example_net")
torch.manual_seed(0)
encoder = model(width=3).build((1, 8, 8), 4)
print([plugin.name for plugin in plugins()], model.__module__, [layer.name for layer in encoder.layers])
print(tuple(encoder.module(torch.zeros(2, 1, 8, 8)).shape))
"""


def python(code: str, path: Path | None, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": "" if path is None else str(path)}
    return subprocess.run([sys.executable, "-c", code], env=environment, cwd=cwd, capture_output=True, text=True)


def test_the_model_of_an_installed_plug_in_is_found_by_its_name(tmp_path: Path) -> None:
    site = install_example(tmp_path / "site")
    done = python(FIND, site, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "['example'] rra_example_plugin ['input', 'conv', 'gap', 'logits']",
        "(2, 4)",
    ]


def test_without_the_package_there_is_no_such_model(tmp_path: Path) -> None:
    done = python(FIND, None, tmp_path)
    assert done.returncode != 0
    assert "UserError: there is no model named 'example_net'" in done.stderr


def test_two_packages_with_a_model_of_the_same_name_are_refused(tmp_path: Path) -> None:
    site = install_example(tmp_path / "site")
    source = (site / "rra_example_plugin" / "__init__.py").read_text()
    (site / "other_plugin.py").write_text(source)
    info = site / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rra_cli.plugins]\nother = other_plugin\n")
    done = python(FIND, site, tmp_path)
    assert "UserError: two components of group 'model' are called 'example_net'" in done.stderr


@pytest.mark.long
def test_pip_installs_the_package_with_its_configuration(tmp_path: Path) -> None:
    """What `install_example` imitates: the real build has the same entry point and brings the YAML files."""
    pytest.importorskip("setuptools", reason="setuptools is needed to build a package without network")
    source = shutil.copytree(HERE, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, capture_output=True, cwd=tmp_path)
    assert (target / "rra_example_plugin" / "conf" / "model" / "example_net.yaml").is_file()
    assert python(FIND, target, tmp_path).stdout == python(FIND, install_example(tmp_path / "copy"), tmp_path).stdout


def test_the_configuration_names_the_model_and_its_fields(tmp_path: Path) -> None:
    # In another process: in this one the model would stay registered for all tests that follow.
    site = install_example(tmp_path / "site")
    code = """
from importlib.resources import files
import yaml
from rra_example_plugin import ExampleNet
values = yaml.safe_load((files("rra_example_plugin.conf.model") / "example_net.yaml").read_text())
assert values.pop("name") == ExampleNet.name
assert ExampleNet(**values) == ExampleNet()
"""
    done = python(code, site, tmp_path)
    assert done.returncode == 0, done.stderr
