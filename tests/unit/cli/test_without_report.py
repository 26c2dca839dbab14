"""`runtime.report=false`: the same tables, nothing drawn; `rra report` draws the same later."""

from __future__ import annotations

from pathlib import Path

import pytest

from rra_cli.__main__ import main

QUICK = ["run", "+experiment=quickstart", "model=mlp", "model.depth=1", "method.epochs=1", "method.milestones=[]"]
QUICK += ["runtime.device=cpu", "runtime.progress=none"]


def contents(folder: Path, pattern: str) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.glob(pattern))}


@pytest.mark.long
def test_the_tables_are_the_same_and_drawn_when_they_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RRA_OUTPUTS", str(tmp_path / "outputs"))
    drawn, bare = tmp_path / "drawn", tmp_path / "bare"
    assert main([*QUICK, f"hydra.run.dir={drawn}"]) == 0
    assert main([*QUICK, f"hydra.run.dir={bare}", "runtime.report=false"]) == 0
    assert contents(bare, "tables/*.csv") == contents(drawn, "tables/*.csv") != {}
    assert not (bare / "report.html").exists()
    assert not (bare / "plots").exists()
    assert contents(drawn, "plots/*.svg"), "the control"
    assert main(["report", str(bare)]) == 0
    assert contents(bare, "plots/*.*g") == contents(drawn, "plots/*.*g")
