"""Small files that anybody may have written are read whole, or refused with the reason, and never without end."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rra_cli.core.reading import parse_yaml, read_bytes, read_json, read_yaml

LEVELS = 60
ALIASES = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, LEVELS))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, LEVELS))


@pytest.mark.parametrize("text", [ALIASES, MERGES], ids=["aliases", "merges"])
def test_what_would_fill_any_memory_is_refused_at_once(text: str) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match="make more than 100,000 values"):
        parse_yaml(text)
    assert time.monotonic() - began < 2


def test_aliases_that_stay_small_are_followed() -> None:
    assert parse_yaml("a: &a [1, 2]\nb: *a\nc: {<<: &d {x: 1}, y: 2}\n") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": {"x": 1, "y": 2},
    }
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a [*a]", "inside of its own anchor"),
        ("[" * 5000, "nested too deeply"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("a: 2001-99-99", "month must be in 1..12"),
        ("a: " + "9" * 5000, "integer"),
        ("a: {[1]: 2}", "unhashable"),
        ("a: !!binary ==x", "base64"),
        ("a: !!timestamp soon", "does not fit its tag"),
        ("a: !!int ''", "does not fit its tag"),
        ("a: !!float x", "x"),
        ("a: !!bool x", "does not fit its tag"),
        ("\x00", "special characters are not allowed"),
        ("a: [", "expected"),
    ],
)
def test_what_is_no_plain_yaml_is_a_value_error(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_yaml(text)


@given(st.text(alphabet="abc:-[]{}&*!<>|'\"#%@`,?\n \t0.~=" + "\x85é", max_size=60))
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    try:
        parse_yaml(text)
    except ValueError:
        return


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_value_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(content)
    for read in (read_json, read_yaml):
        try:
            read(path)
        except ValueError:
            continue


def test_devices_pipes_and_huge_files_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(10**12)  # takes no room on the disk
    for name, words in (
        ("pipe", "not a regular file"),
        ("zero", "not a regular file"),
        ("huge", r"1\.00 TB, more than"),
    ):
        with pytest.raises(ValueError, match=words):
            read_json(tmp_path / name)
    with pytest.raises(IsADirectoryError):
        read_bytes(tmp_path, 10)


def test_json_that_is_nested_too_deeply(tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "deep")
