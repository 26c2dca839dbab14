"""torchvision is importable whether or not its compiled part fits the installed torch."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from rra_cli.data import torchvision_import
from rra_cli.data.torchvision_import import declare_operators, import_torchvision


def test_torchvision_is_imported_with_datasets_and_transforms() -> None:
    torchvision = import_torchvision()
    assert torchvision.datasets.CIFAR10.tgz_md5
    assert torchvision.transforms.v2.functional.hflip(torch.eye(2)).tolist() == [[0, 1], [1, 0]]
    assert import_torchvision() is torchvision


def test_operators_are_declared_exactly_where_a_plain_import_fails() -> None:
    plain = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, text=True, check=False)
    if plain.returncode:
        assert "operator torchvision::nms does not exist" in plain.stderr
    declared = declare_operators.__wrapped__() or bool(torchvision_import._declared)
    assert declared == bool(plain.returncode)


def test_a_compiled_part_that_does_not_load_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> None:
        raise OSError(f"{path}: undefined symbol")

    monkeypatch.setattr(torch.ops, "load_library", fail)
    assert torchvision_import._extension_loads() is False
    monkeypatch.setattr(torch.ops, "load_library", lambda path: None)
    assert torchvision_import._extension_loads() is True
