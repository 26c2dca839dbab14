"""Readers of what lies in a store: artifacts, notes, leases and results."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from holding import holding
from seeds import KEY

from rra_cli.core.artifact import Artifact, FileRecord
from rra_cli.core.hashing import HashCache
from rra_cli.core.lease import Lease
from rra_cli.core.meta import Damage, open_artifact
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.core.survey import survey
from rra_cli.errors import UserError
from rra_cli.stages.graphs.graph import searched, unavailable
from rra_cli.stages.results import RESULT
from rra_cli.stages.results import load as load_result


def an_artifact(content: bytes) -> None:
    with holding("meta.json", content) as folder, suppress(Damage, UserError):
        (folder / "a.bin").write_bytes(b"0123456789")
        open_artifact(folder, None, None)


def a_store_with_a_strange_artifact(content: bytes) -> None:
    with holding(f"graph/{KEY}/meta.json", content) as folder:
        store = Store(folder, warn=lambda message: None)
        assert len(store.verify().corrupt) == 1
        (folder / "refs").mkdir()
        survey(store)


def a_note(content: bytes) -> None:
    with holding("refs/run.json", content) as folder, suppress(UserError):
        store = Store(folder)
        store.references()
        survey(store)


def an_announcement(content: bytes) -> None:
    with holding("refs/removing", content) as folder:
        Store(folder).refer("run", folder, [Spec("graph", 1, {})])


def a_lease(content: bytes) -> None:
    """The record of the first owner, and of every one who says that he came after himself."""
    with holding("lease/first/owner.json", content) as folder, suppress(UserError):
        owner, _ = Lease(folder / "lease").pulse()
        if owner is not None:
            assert owner.is_dead() + owner.is_alive() < 2
            following = folder / "lease" / f"after-{owner.id}" / "owner.json"
            following.parent.mkdir()
            following.write_bytes(content)
            Lease(folder / "lease").pulse()
            raise AssertionError("a circle of owners was taken for a chain")


def what_a_graph_says(content: bytes) -> None:
    with holding("graph.json", content) as folder, suppress(UserError):
        assert 0 <= (searched(folder, None)[1] or 0) <= 1  # type: ignore[arg-type]
    with holding("unavailable.json", content) as folder, suppress(UserError):
        assert isinstance(unavailable(folder), str)


def a_result(content: bytes) -> None:
    with holding(RESULT, content) as folder, suppress(UserError):
        np.save(folder / "x.npy", np.zeros((2, 3)))
        files = {name: FileRecord(1, KEY) for name in (RESULT, "x.npy")}
        load_result(Artifact(folder, Spec("measure", 1, {}), None, files))


def an_array_of_an_artifact(content: bytes) -> None:
    with holding("x.npy", content) as folder:
        for mmap in (True, False):
            with suppress(UserError):
                artifact = Artifact(folder, Spec("measure", 1, {}), None, {"x.npy": FileRecord(1, KEY)})
                artifact.read_array("x.npy", mmap=mmap)


def a_remembered_hash(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path, cache = Path(folder, "x"), HashCache(Path(folder, "notes"))
        path.write_bytes(b"content")
        os.utime(path, ns=(0, 0))
        wanted = cache.hash(path)
        cache.folder.mkdir(exist_ok=True)
        for note in (*cache.folder.iterdir(), cache.folder / "x.json"):
            note.write_bytes(content)
        assert cache.hash(path) == wanted
