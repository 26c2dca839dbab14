"""The script that tells which pictures are hubs, on four pictures whose lists are written by hand."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.io import save_graph

MAIN = runpy.run_path(str(Path(__file__).parents[3] / "scripts" / "hub_attributes.py"))["main"]


def test_pale_hubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Half of each picture is black: contrast is half of the other half's grey. Lists: 3, 1, 0 and 0 times."""
    images = np.zeros((4, 1, 2, 2), np.uint8)
    images[:, 0, 0] = np.array([51, 102, 153, 204])[:, None]
    lists = np.array([[1], [0], [0], [0]])
    save_graph(NeighborGraph(lists, np.ones((4, 1)), 1.0, 4), tmp_path / "store" / "graph" / "k=1")
    row = {"checkpoint": "last", "split": "test", "layer": "c1", "pool": "none", "path": "graph/k=1"}
    rows = [row, row | {"checkpoint": "one", "layer": "not this"}, row | {"split": "train", "layer": "nor this"}]
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "manifest.json").write_text(json.dumps({"store": "store", "graphs": rows}))
    monkeypatch.setitem(MAIN.__globals__, "bind", lambda _: SimpleNamespace(dataset=object()))
    monkeypatch.setitem(MAIN.__globals__, "ImageDataset", object)
    monkeypatch.setitem(MAIN.__globals__, "load_measured", lambda *_: SimpleNamespace(images=images))
    MAIN([str(tmp_path)])
    # Ranks 1 2 3 4 against 4 3 1.5 1.5: r = -4.5 / sqrt(5 * 4.5).
    assert capsys.readouterr().out.splitlines()[2:] == [f"| c1 | 0.100 | 0.250 | {-4.5 / np.sqrt(22.5):.2f} | 2 |"]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        MAIN([str(tmp_path)])
    assert raised.value.code == 2
    assert "give the folder of a finished run" in capsys.readouterr().err
