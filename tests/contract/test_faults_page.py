"""`docs/faults.md` names a test for every row, and all of them are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"


def test_every_row_names_tests_that_are_there() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.count(" | ") == 2]
    assert len(rows) > 30
    for row in rows:
        tests = row.split(" | ")[2]
        if tests.strip(" |") == "test":
            continue
        assert "the same" in tests or "`" in tests, row
        folder = ""
        for name in re.findall(r"`([^`]+)`", tests):
            path = re.sub(r"\[.*\]$", "", name).removeprefix("tests/")
            folder = path.rpartition("/")[0] or folder
            place = ROOT / "tests" / (path if "/" in path or not path.endswith(".py") else f"{folder}/{path}")
            assert place.exists(), f"{name} of {row}"
