"""What the tests of gc share: building, leaving and ageing results in a store."""

from __future__ import annotations

import os
import time
from pathlib import Path

from rra_cli.core import files
from rra_cli.core.artifact import Artifact
from rra_cli.core.collect import Collected
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store

DAY = 86400.0
CAPTURE, GRAPH, OTHER = Spec("capture", 1, {"n": 1}), Spec("graph", 1, {"n": 2}), Spec("graph", 1, {"n": 3})


def build(store: Store, spec: Spec, entry: str | None = None, size: int = 100_000) -> Artifact:
    with store.claim(spec) as work:
        files.write_bytes(work.path / "out" / "a.bin", b"x" * size)
        return work.publish("out", entry)


def interrupted(store: Store, spec: Spec) -> Path:
    """Work that a process began and did not finish."""
    try:
        with store.claim(spec) as work:
            files.write_bytes(work.path / "half", b"y" * 50_000)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return Path(f"{store.folder(spec)}.work")


def a_run(store: Store, name: str, *specs: Spec, where: Path | None = None) -> Path:
    folder = (store.root.parent if where is None else where) / name
    folder.mkdir(parents=True)
    store.refer(name, folder, specs)
    return folder


def aged(store: Store, days: float = 30) -> None:
    """Everything in the store as if it had changed that long ago."""
    then = time.time() - days * DAY
    for path in [store.root, *store.root.rglob("*")]:
        os.utime(path, (then, then), follow_symlinks=False)


def kinds(found: Collected) -> list[str]:
    return sorted(item.kind for item in found.removed)
