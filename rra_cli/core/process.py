"""Which process holds a lease, and whether it is certainly dead."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Owner:
    """A process as others may know it. id: random, one per lease taken. free: a mark that nobody owns any more."""

    id: str
    host: str
    boot: str
    namespace: str
    pid: int
    started: str
    free: bool = False

    @classmethod
    def this_process(cls, *, free: bool = False) -> Owner:
        """This process under a new random id."""
        machine = _machine()
        pid = os.getpid()
        return cls(secrets.token_hex(16), *machine, pid, start_time(pid) or "", free)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Owner:
        """The owner as it was written. Raises TypeError or ValueError where the record is not one."""
        owner = cls(**record)
        texts = (owner.id, owner.host, owner.boot, owner.namespace, owner.started)
        if not all(isinstance(text, str) for text in texts) or not isinstance(owner.free, bool):
            raise TypeError("not the record of an owner")
        if len(owner.id) != 32 or set(owner.id) - set("0123456789abcdef"):
            raise ValueError("not the record of an owner")
        if type(owner.pid) is not int or not 0 < owner.pid < 2**31:
            raise ValueError("not the record of an owner")
        return owner

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def is_here(self) -> bool:
        """Whether it runs, or ran, on this machine since it was started, where its process number means something."""
        return (self.host, self.boot, self.namespace) == _machine() and self.boot != ""

    def is_dead(self) -> bool:
        """True only where it is certain: the same machine and start-up, and the process is gone or is another one."""
        if not self.is_here():
            return False
        now = start_time(self.pid)
        return now is None or (bool(self.started) and bool(now) and now != self.started)

    def is_alive(self) -> bool:
        """True only where it is certain: the same machine, and that very process exists (it may be suspended)."""
        return self.is_here() and bool(self.started) and start_time(self.pid) == self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def start_time(pid: int) -> str | None:
    """When the process started, as text to be compared only; None: no such process; "": it exists, no more is known.

    A process that has ended but was not collected by its parent counts as gone.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass  # not ours to signal, but it exists
    try:
        # The name, in parentheses, may hold anything: what follows the last ")" is state, parent, ..., start time.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _start_time_elsewhere(pid)
    return None if fields[0] in "ZXx" else fields[19]


def _start_time_elsewhere(pid: int) -> str | None:
    if Path("/proc/self/stat").exists():
        return ""  # hidden from us
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return ""


@cache
def _machine() -> tuple[str, str, str]:
    """Host name, identity of its present start-up, and of the process number space (containers share the former)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        import psutil

        boot, namespace = str(int(psutil.boot_time())), ""
    return socket.gethostname(), boot, namespace
