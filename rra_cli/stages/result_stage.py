"""Stages that end in results: a few figures and small arrays, one artifact for all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from rra_cli.core import files
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.stages import results
from rra_cli.stages.results import Measured
from rra_cli.stages.stage import Context, Stage


class ResultStage(Stage, ABC):
    """A stage whose artifact is a list of results."""

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """What decides the results."""

    @abstractmethod
    def measure(self, context: Context, folder: Path) -> list[Measured]:
        """The results, in the order in which they are stored. folder: for work in progress."""

    @property
    def specs(self) -> Sequence[Spec]:
        return (self.spec,)

    def done(self, store: Store) -> bool:
        return store.find(self.spec, in_full=True) is not None

    def load(self, store: Store) -> list[Measured]:
        """The stored results."""
        artifact = store.find(self.spec)
        assert artifact is not None, "a result was ensured before it is read"
        return results.load(artifact)

    def build(self, context: Context) -> None:
        with context.store.claim(self.spec, on_wait=context.reporter.note) as work:
            if self.done(context.store):
                return
            measured = self.measure(context, work.path)
            out = work.path / "result"
            files.remove(out)
            out.mkdir()
            results.save(out, measured)
            work.publish(out.name)
