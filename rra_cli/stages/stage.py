"""What all stages have in common: outputs in the store, stages they need, a cost, and how they are built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rra_cli.core.artifact import Artifact
from rra_cli.core.progress import Reporter
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store

State = Literal["cached", "missing", "stale", "not needed"]


@dataclass(frozen=True)
class Cost:
    """An estimate: seconds of work, bytes of memory at the peak, bytes added to the store (at the peak, of many).

    What the machine changes in it: threaded: those of the seconds that are for 4 threads, and that others divide.
    blocks: those of memory_bytes that a smaller budget lessens. once: seconds that a process spends before the first
    work of a kind, by what it is; they are not among `seconds`.
    """

    seconds: float = 0.0
    memory_bytes: int = 0
    disk_bytes: int = 0
    threaded: float = 0.0
    blocks: int = 0
    once: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """Where a stage is built: the store, the machine and whoever watches.

    devices: on which graphs may be searched at the same time; empty where there is no other than `device`. save_every:
    seconds between two saves of a training. timed: how long every search takes is asked for, so that the processor is
    not shared by several. alone: it is not.
    """

    store: Store
    reporter: Reporter
    device: str
    memory: int | None
    devices: tuple[str, ...] = ()
    save_every: float = 60.0
    timed: bool = False
    alone: bool = True


class Stage(ABC):
    """A piece of work with a result in the store. A stage is built only when something still missing needs it.

    name: the kind of work, as its results are stored. label: what it is done to, for a person.
    """

    name: str
    label: str

    @property
    def title(self) -> str:
        """Kind and label, where nothing around it tells the kind."""
        return f"{self.name} {self.label}"

    @property
    def unit(self) -> tuple[str, str]:
        """Name and key: stages that have both in common are one piece of work."""
        return self.name, self.specs[0].key

    @property
    def concurrent(self) -> bool:
        """Whether it may be built while another thread builds such a one."""
        return False

    @property
    def shared(self) -> bool:
        """Whether several threads may build it together."""
        return False

    @property
    @abstractmethod
    def needs(self) -> Sequence[Stage]:
        """Stages whose results it reads."""

    @property
    @abstractmethod
    def specs(self) -> Sequence[Spec]:
        """Everything it may write."""

    @property
    def claims(self) -> Sequence[Spec]:
        """What it claims while it is built: its specs, or one for a group of them."""
        return self.specs

    @abstractmethod
    def done(self, store: Store) -> bool:
        """Whether all that is asked of it lies in the store."""

    def look(self, store: Store) -> None:  # noqa: B027 - most stages read what they need in full by themselves
        """Before it is asked which of its needs are done: what it will read of them is compared byte by byte, so that
        what was damaged counts as missing and is built again before this stage is.
        """

    @abstractmethod
    def build(self, context: Context) -> None:
        """Makes what is missing; the stages it needs are done."""

    @abstractmethod
    def cost(self) -> Cost:
        """What building all of it costs."""

    def artifacts(self, store: Store) -> list[Artifact]:
        """What of it lies in the store."""
        found = [store.find(spec) for spec in self.specs]
        return [artifact for artifact in found if artifact is not None]

    def stale(self, store: Store) -> bool:
        """Whether an earlier version of this stage left a result that can no longer be used."""
        return any(
            store.folder(Spec(spec.stage, version, spec.identity, spec.upstream)).exists()
            for spec in self.specs
            for version in range(1, spec.version)
        )


def ensure(stage: Stage, context: Context) -> None:
    """Builds a stage and, before it, whatever it needs that is missing."""
    if stage.done(context.store):
        return
    stage.look(context.store)
    for need in stage.needs:
        ensure(need, context)
    stage.build(context)
