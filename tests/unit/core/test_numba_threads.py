"""numba can run the threads that are asked for, be there fewer cores; what a user has set stays."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rra_cli.core import numba_threads
from rra_cli.core.numba_threads import VARIABLE, reserve


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one core, on which nobody has imported numba or set anything yet."""
    monkeypatch.setattr(numba_threads, "usable_cores", lambda: 1)
    for name in (VARIABLE, "RRA_NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that it is as it was after the test
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "numba", raising=False)


def test_it_is_raised_and_never_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads in (4, 2, 6):
        reserve(threads)
        found.append(os.environ[VARIABLE])
    assert found == ["4", "4", "6"]
    monkeypatch.setattr(numba_threads, "usable_cores", lambda: 16)
    reserve(2)
    assert os.environ[VARIABLE] == "16"


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "2")
    reserve(8)
    assert os.environ[VARIABLE] == "2"


def test_after_its_import_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba raises where the variable changes once its threads run."""
    monkeypatch.setitem(sys.modules, "numba", sys)
    reserve(8)
    assert VARIABLE not in os.environ


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux can leave a process one core")
def test_an_approximate_search_may_follow_an_exact_one_on_one_core() -> None:
    """Control: eight threads were not reserved before numba was imported, and it says what to do."""
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "import numpy; from rra_cli.neighbors import exact_neighbors\n"
        "from rra_cli.neighbors.descent.library import load\n"
        "exact_neighbors(numpy.eye(9), 3); load(4); print('loaded', flush=True); load(8)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), capture_output=True, text=True)
    assert done.stdout.strip() == "loaded", done.stderr
    assert "n_jobs is 8, but numba was started with 4 threads" in done.stderr
    assert "NUMBA_NUM_THREADS=8 before starting" in done.stderr
