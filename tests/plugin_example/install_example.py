"""Installs the example plug-in without network, pip or a change to this environment: for tests.

Put the returned folder on a process's PYTHONPATH and `importlib.metadata` finds the plug-in's entry point there, as it
does after `pip install`.
"""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

HERE = Path(__file__).parent


def install_example(target: Path) -> Path:
    """Copies the package into `target` and writes the metadata that pip would write from its pyproject.toml."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    for package in project["entry-points"]["rra_cli.plugins"].values():
        shutil.copytree(HERE / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    info = target / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [f"{name} = {value}" for name, value in project["entry-points"]["rra_cli.plugins"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[rra_cli.plugins]", *lines, ""]))
    return target
