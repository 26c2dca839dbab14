"""The dated folder that a person reads: configuration, status, provenance, tables and plots of one run."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shlex
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from rra_cli.core import files
from rra_cli.core.artifact import Artifact
from rra_cli.core.forecast import Forecast
from rra_cli.core.lease import Lease, LeaseHeldError
from rra_cli.core.runfiles import LEASE, LOG, MANIFEST, OURS, PROVENANCE, STATUS, State, refuse_links, write_config
from rra_cli.core.store import Store
from rra_cli.errors import UserError

# Seconds between two looks at whether there is progress to write; a run of more than a minute looks less often, since
# hundreds of runs may share a file system.
PULSE = (1.0, 5.0)


class RunDir:
    """A run folder that this process owns until `leave`; use it as a context manager.

    Leaving by an exception writes the status `failed` or `interrupted` unless that was done already. While it is
    entered, a thread writes its progress into the status now and then. forecast: the progress, to be told.
    """

    def __init__(self, path: Path, lease: Lease) -> None:
        self.path = path
        self._lease = lease
        self._started, self._entered = _now(), time.monotonic()
        self._state: State | None = None
        self._stage = ""
        self._record: dict[str, Any] = {}
        self.forecast = Forecast()
        self._lock, self._stop = threading.RLock(), threading.Event()
        self._thread = threading.Thread(target=self._pulse, daemon=True)

    @classmethod
    def enter(
        cls,
        path: Path,
        config: Mapping[str, Any],
        *,
        stale_after: float = 30.0,
        on_wait: Callable[[str], None] | None = None,
    ) -> RunDir:
        """Creates the run folder, or enters it again, and writes the resolved `config.yaml`.

        Raises `UserError` where it cannot be written or something in it is a link, where a living process works in it
        (named), or where it holds a run with another configuration (the difference shown). Hydra may have made it
        already. Whether an owner on another machine lives takes up to `stale_after` seconds to tell; `on_wait` is told.
        """
        path = Path(path).absolute()
        files.make_folder(path)
        refuse_links(path, OURS)
        lease = Lease(path / LEASE, stale_after=stale_after)
        try:
            lease.acquire(on_wait, wait=False)
        except LeaseHeldError as error:
            raise UserError(
                f"the run folder {path} is in use by {error.owner}",
                "wait until that process has ended, or end it; or set hydra.run.dir to another folder",
            ) from error
        try:
            write_config(path, config)
            files.remove_leftovers(path)
        except BaseException:
            lease.dissolve()
            raise
        run = cls(path, lease)
        run.status("running")
        run._thread.start()
        return run

    @property
    def id(self) -> str:
        """A file name for the run: its folder, the one above, and a hash that tells equal names elsewhere apart."""
        readable = re.sub(r"[^A-Za-z0-9_.+=-]", "_", "_".join(self.path.parts[-2:])).lstrip("_.")[-100:].lstrip("_.+=-")
        return f"{readable or 'run'}-{hashlib.sha256(os.fsencode(os.path.realpath(self.path))).hexdigest()[:8]}"

    @property
    def tables(self) -> Path:
        """The folder of the tables."""
        return files.make_folder(self.path / "tables")

    @property
    def plots(self) -> Path:
        """The folder of the plots."""
        return files.make_folder(self.path / "plots")

    def status(
        self, state: State, stage: str | None = None, *, message: str = "", error: BaseException | None = None
    ) -> None:
        """Writes `status.json`: state, stage, owner, heartbeat counter, times, progress, and what went wrong.

        stage: what is being done; None leaves it. error: its text, and its traceback unless it is the user's fault.
        """
        with self._lock:
            self._lease.check()
            self._state, self._stage = state, self._stage if stage is None else stage
            owner = self._lease.owner
            assert owner is not None
            shown = error is not None and not isinstance(error, UserError | KeyboardInterrupt)
            self._record = {
                "state": state,
                "stage": self._stage,
                "message": message or ("" if error is None else str(error) or type(error).__name__),
                "traceback": "".join(traceback.format_exception(error)) if shown else "",
                "host": owner.host,
                "pid": owner.pid,
                "started": self._started,
            }
            files.write_json(self.path / STATUS, self._as_json())

    def write_manifest(self, store: Store, artifacts: Iterable[Artifact], **more: Any) -> None:
        """Writes `manifest.json`: every artifact used, by key and path relative to the store, in order of their paths.

        `store` is the store's folder relative to this one. more: what else it tells, as JSON.
        """
        rows = {
            artifact.name: {
                "stage": artifact.spec.stage,
                "key": artifact.spec.key,
                "entry": artifact.entry,
                "path": artifact.name,
            }
            for artifact in artifacts
        }
        relative = os.path.relpath(store.root, os.path.realpath(self.path))
        known = {"store": relative, "artifacts": [rows[name] for name in sorted(rows)]}
        files.write_json(self.path / MANIFEST, {**known, **more})

    def write_provenance(self, provenance: Mapping[str, Any]) -> None:
        """Writes `provenance.json` as `core.provenance.provenance` gives it, with the command that repeats the run."""
        repeat = shlex.join(["rra", "run", "--from", str(self.path)])
        files.write_json(self.path / PROVENANCE, {**provenance, "repeat": repeat})

    @contextmanager
    def logging(self, level: int = logging.INFO) -> Iterator[None]:
        """Inside, what `rra_cli` logs is appended to `run.log`, and so are Python's warnings."""
        with files.explained(self.path / LOG):
            handler = logging.FileHandler(self.path / LOG, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handler.setLevel(level)
        loggers = [logging.getLogger("rra_cli"), logging.getLogger("py.warnings")]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.addHandler(handler)
            logger.setLevel(min(level, logger.level or level))
        try:
            yield
        finally:
            for logger, previous in zip(loggers, levels, strict=True):
                logger.removeHandler(handler)
                logger.setLevel(previous)
            handler.close()

    def _as_json(self) -> dict[str, Any]:
        """The last record with how far the run is now; a run that has ended has nothing left."""
        how_far = self.forecast.as_json() if self._state == "running" else {"left": None, "progress": []}
        seconds = round(time.monotonic() - self._entered, 1)
        alive = {"heartbeat": self._lease.counter, "updated": _now(), "seconds": seconds}
        return {**self._record, **alive, **how_far}

    def _pulse(self) -> None:
        """Writes the status again where there is progress: a write without a flush, at most once a second."""
        written: Any = None
        while not self._stop.wait(PULSE[time.monotonic() - self._entered > 60.0]):
            far = [(task.title, task.done, task.note) for task in list(self.forecast.tasks)]
            if far == written:
                continue
            # What cannot be written now is written later; a lost lease is found by whoever has something to say.
            with self._lock, suppress(OSError, UserError):
                if self._state == "running":
                    self._lease.check()
                    files.write_passing(self.path / STATUS, self._as_json())
                    written = far

    def leave(self) -> None:
        """Lets others enter the folder."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._lease.dissolve()
        self._lease.stop()

    def __enter__(self) -> RunDir:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None and self._state == "running":
                interrupted = isinstance(error, KeyboardInterrupt)
                self.status("interrupted" if interrupted else "failed", error=error)
        except (UserError, OSError) as second:
            # The disk may be full, which is why the run failed: the first fault is the one to show.
            logging.getLogger("rra_cli").warning("status.json could not be written: %s", second)
        finally:
            self.leave()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
