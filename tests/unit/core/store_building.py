"""What the tests of the store share: two results, building one, and leaving one unfinished."""

from __future__ import annotations

from pathlib import Path

from rra_cli.core import files
from rra_cli.core.artifact import Artifact
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store

SPEC = Spec("graph", 1, {"metric": "euclidean", "n": 10})
OTHER = Spec("capture", 2, {"layer": "conv1"}, (SPEC.key,))


def build(store: Store, spec: Spec = SPEC, entry: str | None = None, content: bytes = b"0123456789") -> Artifact:
    with store.claim(spec) as work:
        files.write_bytes(work.path / "out" / "a.bin", content)
        files.write_bytes(work.path / "out" / "deep" / "b.bin", b"b")
        return work.publish("out", entry, details={"seconds": 1})


def fail_after(store: Store, *names: str) -> None:
    """Begins to build, writes some files, and is interrupted."""
    try:
        with store.claim(SPEC) as work:
            for name in names:
                (work.path / name).write_text("unfinished")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return


def contents(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
