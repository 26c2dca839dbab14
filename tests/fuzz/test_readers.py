"""Readers of what others may have written end as they say for any bytes: a value, or an exception they document."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers import TARGETS
from seeds import SEEDS

# What makes parsers stumble: put in anywhere.
MORSELS = (
    b"", b"\x00", b"\xff", b"[" * 3000, b"{" * 3000, b'{"a":' * 2000, b"9" * 5000, b"-1", b"1e999", b"NaN", b"null",
    b"[]", b"{}", b'""', b"../", b"/etc/passwd", b"\n", b",", b'"', b"'", b"${a}", b"${oc.env:HOME}", b"_target_",
    b"!!python/name:os.system", b"&a [*a]", b"<<: *a", b"\xed\xa0\x80", b"\\ud800", b"<script>", b"true", b"(",
    b"2001-99-99", b"9" * 400, b"x" * 300, b"a/" * 2500, b"-0.0", b"\x1b[2J", b"0" * 64,
)  # fmt: skip


@st.composite
def spoilt(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """Something right with a few bytes changed, cut, doubled, or a morsel put in."""
    content = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        to = min(len(content), at + draw(st.sampled_from([0, 1, 1, 2, 5, 50])))
        middle = draw(st.one_of(st.sampled_from(MORSELS), st.binary(max_size=3), st.just(content[at:to] * 2)))
        content = content[:at] + middle + content[to:]
    return content


def attempt(target: str, n: int, *, same: bool) -> None:
    """n inputs. same: as in every other run, so that nobody's change is blamed for what chance finds."""

    @settings(max_examples=n, derandomize=same, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(spoilt(SEEDS[target]), spoilt(SEEDS[target]), st.binary(max_size=200)))
    def ends_as_documented(content: bytes) -> None:
        TARGETS[target](content)

    ends_as_documented()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("n", [20, pytest.param(100, marks=pytest.mark.long)])
def test_any_bytes_end_as_documented(target: str, n: int) -> None:
    attempt(target, n, same=True)


@pytest.mark.stress
@pytest.mark.parametrize("target", TARGETS)
def test_many_bytes_end_as_documented(target: str) -> None:
    attempt(target, 1500, same=False)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_right_is_read(target: str) -> None:
    """The seeds reach behind the first look: without that the tests above would try nothing."""
    for seed in SEEDS[target]:
        TARGETS[target](seed)


SECONDS = 12


@pytest.mark.stress
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="needs atheris; hypothesis tries many above")
@pytest.mark.parametrize("target", TARGETS)
def test_a_guided_fuzzer_finds_nothing(target: str, tmp_path: Path) -> None:
    script = Path(__file__).with_name("fuzz.py")
    done = subprocess.run(
        [sys.executable, str(script), target, str(SECONDS), str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS + 120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    tried = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    print(f"{target}: {tried[1] if tried else '?'} inputs")
