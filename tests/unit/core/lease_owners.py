"""Owners of a lease in processes of their own, and one on another machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from rra_cli.core.process import Owner

HOLD = """
    import sys, time
    from pathlib import Path
    from rra_cli.core.lease import Lease
    lease = Lease(Path(sys.argv[1]), stale_after=float(sys.argv[2]))
    lease.acquire()
    print("held", flush=True)
    sys.stdin.readline()
    try:
        lease.check()
        print("mine", flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
    lease.release()
"""
Start = Callable[..., "subprocess.Popen[str]"]


def say(child: subprocess.Popen[str], text: str = "go") -> str:
    """Sends a line and returns the answer."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(text + "\n")
    child.stdin.flush()
    return child.stdout.readline().strip()


def hear(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def elsewhere(folder: Path) -> tuple[Path, Path]:
    """A lease as a process on another machine leaves it, and its counter's file."""
    link = folder / "first"
    link.mkdir(parents=True)
    owner = Owner("a" * 32, "elsewhere", "other start-up", "pid:[1]", 1, "123")
    (link / "owner.json").write_text(json.dumps(owner.as_json()))
    (link / "counter").write_text(f"{0:020d}")
    return folder, link / "counter"
