"""What is read from sources and YAML folders is what importing finds, and nothing heavy is imported for it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from rra_cli.config import catalog
from rra_cli.core.component import GROUPS, components


@pytest.mark.parametrize("group", GROUPS)
def test_sources_and_imports_tell_the_same(group: str) -> None:
    entries, imported = catalog.entries(group), components(group)
    assert set(entries) == set(imported)
    assert entries
    for name, cls in imported.items():
        assert list(entries[name].fields) == [field.name for field in dataclasses.fields(cls)], name
        assert entries[name].about == (cls.__doc__ or "").partition("\n")[0], name
        assert entries[name].class_name == cls.__name__


def test_literals_are_spelled_out() -> None:
    assert "'projection', 'pad'" in catalog.entries("model")["resnet20"].fields["shortcut"]


def test_options_of_a_folder_of_the_user_come_behind_ours(tmp_path: Path) -> None:
    for name in ("model/mine.yaml", "model/mlp.yaml", "hydra/launcher/x.yaml", "experiment/sub/x.yaml", "top.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# @package _global_\n\n#   Says something.\nname: mlp\n")
    found = catalog.options([tmp_path])
    assert found["model"]["mine"].about == "Says something."
    assert found["model"]["mlp"].path != tmp_path / "model" / "mlp.yaml"
    assert found["experiment"]["sub/x"].path == tmp_path / "experiment" / "sub" / "x.yaml"
    assert "hydra" not in found
    assert "top" not in found


def test_a_file_without_a_comment_or_not_readable_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.yaml").write_text("name: mlp\n# too late\n")
    (tmp_path / "model" / "b.yaml").write_bytes(b"# \xff\n")
    found = catalog.options([tmp_path])["model"]
    assert found["a"].about == found["b"].about == ""


PLUGIN = """
import sys
sys.modules["torch"] = None  # importing it would fail
from rra_cli.config import catalog
print(sorted(catalog.entries("model")), "mine" in catalog.options()["model"])
print(catalog.entries("model")["from_plugin"].fields, "plugin_package" in sys.modules)
"""


def test_plug_ins_are_found_without_importing_them(tmp_path: Path) -> None:
    package = tmp_path / "plugin_package"
    (package / "conf" / "model").mkdir(parents=True)
    (package / "conf" / "model" / "mine.yaml").write_text("name: from_plugin\n")
    (package / "__init__.py").write_text(
        "import torch\nfrom rra_cli.models.model import Model\n\n\nclass Mine(Model):\n    '''About it.'''\n"
        "    name = 'from_plugin'\n    width: int = 3\n"
    )
    info = tmp_path / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rra_cli.plugins]\nmine = plugin_package\n")
    done = subprocess.run(
        [sys.executable, "-c", PLUGIN], capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert "'from_plugin'" in first
    assert first.endswith("True")
    assert second == "{'width': 'int'} False"
