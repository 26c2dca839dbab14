"""Checkpoints that run code, or grow in memory, are refused with the file's name."""

from __future__ import annotations

import io
import os
import pickle
import resource
import zipfile
from pathlib import Path

import pytest
import torch

from rra_cli.errors import UserError
from rra_cli.models.mlp import MLP
from rra_cli.training.checkpoint import load_encoder, read_tensors


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.path),))


def saved(content: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize("how", ["torch", "torch's old format", "pickle"])
def test_code_in_a_checkpoint_is_not_run(how: str, tmp_path: Path) -> None:
    bomb = {"weight": Bomb(tmp_path / "exploded")}
    content = {
        "torch": lambda: saved(bomb),
        "torch's old format": lambda: saved(bomb, _use_new_zipfile_serialization=False),
        "pickle": lambda: pickle.dumps(bomb),
    }[how]()
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"weights\.pt does not hold the weights of model=mlp") as caught:
        load_encoder(MLP(), (1, 8, 8), 10, path)
    assert "remove its folder" in str(caught.value.hint)
    assert not (tmp_path / "exploded").exists()
    if how == "torch":  # the control: whoever trusts the file runs it
        torch.load(path, weights_only=False)
        assert (tmp_path / "exploded").exists()


def test_a_checkpoint_that_grows_in_memory_is_refused(tmp_path: Path) -> None:
    """Packed, a gigabyte of zeros has a megabyte."""
    packed = tmp_path / "packed.pt"
    content = io.BytesIO(saved({"weight": torch.zeros(1 << 26)}))
    with zipfile.ZipFile(content) as plain, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for part in plain.infolist():
            file.writestr(part.filename, plain.read(part))
    assert packed.stat().st_size < 1_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="it would grow in memory"):
        read_tensors(packed)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_what_torch_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(saved({"weight": torch.arange(6.0).reshape(2, 3), "epoch": 3}))
    found = read_tensors(path)
    assert found["epoch"] == 3
    assert torch.equal(found["weight"], torch.arange(6.0).reshape(2, 3))
