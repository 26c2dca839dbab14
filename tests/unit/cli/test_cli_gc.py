"""`rra gc`: what it shows, what it removes, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command import Command

from rra_cli.cli.gc import parse_age
from rra_cli.core import files
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.errors import UserError

KEPT, GONE = Spec("graph", 1, {"n": 1}), Spec("capture", 1, {"n": 2})


def stocked(outputs: Path) -> Store:
    """Two runs with an artifact each; the folder of one of them was deleted."""
    store = Store(outputs / "store")
    for name, spec, size in (("kept", KEPT, 1000), ("gone", GONE, 2_000_000)):
        with store.claim(spec) as work:
            files.write_bytes(work.path / "out" / "a.bin", b"x" * size)
            work.publish("out")
        (outputs / name).mkdir()
        store.refer(name, outputs / name, [spec])
    shutil.rmtree(outputs / "gone")
    return store


def test_a_dry_run_shows_what_would_go_and_changes_nothing(rra: Command) -> None:
    store = stocked(rra.outputs)
    before = {path: path.lstat().st_mtime_ns for path in rra.outputs.rglob("*")}
    assert rra("gc", "--dry-run", "--older-than", "0", "--list") == 0
    assert {path: path.lstat().st_mtime_ns for path in rra.outputs.rglob("*")} == before
    rows = {line.split()[0]: line.split() for line in rra.out.splitlines() if line.split()[:1]}
    assert rows["capture"][1:4] == ["1", "2.02", "MB"] or rows["capture"][1:3] == ["1", "2.01"]
    assert rows["graph"][1:4] == ["0", "0", "B"]
    assert "runs that refer to the store: 1 there, 1 deleted" in rra.out
    assert "would be freed; nothing was removed (--dry-run)" in rra.out
    assert f"would remove: {store.folder(GONE)} (2.0" in rra.out


def test_it_removes_what_no_run_refers_to(rra: Command) -> None:
    store = stocked(rra.outputs)
    assert rra("gc", "--older-than", "0") == 0
    assert "MB freed" in rra.out
    assert store.find(GONE) is None
    assert store.find(KEPT) is not None
    assert rra("gc", "--older-than", "0", "--store", str(store.root)) == 0
    assert "\n0 B freed" in rra.out


def test_what_changed_today_stays_unless_it_is_asked_for(rra: Command) -> None:
    store = stocked(rra.outputs)
    assert rra("gc") == 0
    assert "kept though no run refers to it: 2.0" in rra.out
    assert "that changed within 1d (--older-than)" in rra.out
    assert store.find(GONE) is not None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("45s", 45), ("30m", 1800), ("12h", 43200), ("7d", 604800), ("2w", 1209600), ("1.5h", 5400)],
)
def test_times_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7y", "7 days", "1e9d", "nan", "9" * 500 + "d"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected a time") as caught:
        parse_age(text)
    assert "7d (days)" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--older-than", "soon"], "--older-than soon: expected a time"),
        (["--all"], "unrecognized arguments: --all"),
        (["somewhere"], "unrecognized arguments: somewhere"),
        (["--store", "/nowhere/store"], "there is no store at /nowhere/store"),
        ([], "there is no store at"),
    ],
)
def test_what_is_not_understood_is_the_users_to_mend(rra: Command, arguments: list[str], words: str) -> None:
    assert rra("gc", *arguments) == 2
    assert words in rra.err
    assert "Traceback" not in rra.err


def test_a_folder_that_is_no_store_is_not_touched(rra: Command, tmp_path: Path) -> None:
    (tmp_path / "trash" / ("0" * 16)).mkdir(parents=True)
    assert rra("gc", "--store", str(tmp_path), "--older-than", "0") == 2
    assert "is no store that a run has used" in rra.err
    assert (tmp_path / "trash" / ("0" * 16)).is_dir()
