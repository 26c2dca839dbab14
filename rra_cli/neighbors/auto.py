"""The choice of an engine from the size of the work: the cheaper one that reaches a recall, by committed estimates.

Nothing is measured when it is made, so the same layer gets the same engine on every machine, and its graph has the key
of the engine that was chosen: what `neighbors=auto` searched exactly is there for `neighbors=exact`, and the reverse.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.core.progress import Progress, clock, silent
from rra_cli.neighbors.cost_model import DESCENT_COMPILE, THREADS, exact_seconds, nn_descent_seconds
from rra_cli.neighbors.engine import Engine
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.nn_descent import PynndescentEngine

# An approximate search may miss the recall and be followed by the exact one, so it has to be this much cheaper: then
# it pays even where it fails as often as not.
WORTH_TRYING = 0.5

# What approximate search is asked for: of the layers of a trained ResNet20 (N = 5,000) pynndescent found 0.69 of the
# neighbours at k = 10 and 0.97 at k = 50 where it did worst with n_neighbors = k + 1, and 0.99 with these.
LEAST_NEIGHBORS, MORE_NEIGHBORS = 101, 51
REACHED_RECALL = 0.99

Size = tuple[int, int, int]  # samples, features, k


@dataclass(frozen=True)
class Choice:
    """The engine of one layer. exact, approximate: estimated seconds of either; None where nothing was estimated."""

    engine: Engine
    exact: float | None = None
    approximate: float | None = None


@dataclass(frozen=True)
class AutoEngine(Engine):
    """The cheaper engine that reaches min_recall, chosen from the samples, features and k by committed estimates.

    min_recall: above 0.99 always exact; an approximate graph of a lower measured recall is searched exactly instead.
    seed, n_jobs, recall_rows, warm_start: of the approximate engine, where it is chosen (`neighbors=pynndescent`).
    """

    name: ClassVar[str] = "auto"
    uses_device: ClassVar[bool] = True

    min_recall: float = identity(0.99)
    seed: int = identity(0)
    n_jobs: int = identity(4)
    recall_rows: int = identity(300)
    warm_start: bool = identity(False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.min_recall <= 1:
            raise ValueError(f"min_recall is {self.min_recall}; it must lie in [0, 1]")
        self.approximate(1)  # which checks the others

    @property
    def exact(self) -> ExactEngine:
        """The engine where exact search is chosen."""
        return ExactEngine(**self._shared)

    def approximate(self, k: int) -> PynndescentEngine:
        """The engine where approximate search is chosen."""
        return PynndescentEngine(
            **self._shared,
            n_neighbors=max(LEAST_NEIGHBORS, k + MORE_NEIGHBORS),
            seed=self.seed,
            n_jobs=self.n_jobs,
            recall_rows=self.recall_rows,
            warm_start=self.warm_start,
            min_recall=self.min_recall,
        )

    @property
    def _shared(self) -> dict[str, Any]:
        """The settings that every engine has."""
        return {declared.name: getattr(self, declared.name) for declared in fields(Engine)}

    @property
    def prefix_stable(self) -> bool:
        return False

    def choose(self, n_samples: int, n_features: int, k: int) -> Choice:
        """The engine for a layer of this size."""
        exact = exact_seconds(n_samples, n_features, k)
        engine = self.approximate(k)
        approximate = nn_descent_seconds(n_samples, n_features, k, n_neighbors=engine.n_neighbors)
        worth = self.min_recall <= REACHED_RECALL and approximate <= WORTH_TRYING * exact
        return Choice(engine if worth else self.exact, exact, approximate)

    def search(
        self,
        activations: NDArray[np.floating],
        k: int,
        *,
        device: str = "cpu",
        memory: int | None = None,
        work: Path | None = None,
        progress: Progress = silent,
    ) -> NeighborGraph:
        """The graph by the engine that is chosen for these activations; it says which."""
        n_samples, n_features = activations.shape
        engine = self.choose(n_samples, n_features, k).engine
        return engine.search(activations, k, device=device, memory=memory, work=work, progress=progress)


def engine_for(engine: Engine, n_samples: int, n_features: int, k: int, *, first: bool) -> Choice:
    """The engine that searches one layer; `first`: there is none before it, so that a warm start has to be cold."""
    choice = engine.choose(n_samples, n_features, k) if isinstance(engine, AutoEngine) else Choice(engine)
    if first and isinstance(choice.engine, PynndescentEngine):
        return replace(choice, engine=choice.engine.cold)
    return choice


def explain(engine: AutoEngine, sizes: Iterable[Size]) -> list[str]:
    """What was chosen for layers of these sizes (samples, features, k) and why, a line per engine."""
    lines = []
    chosen = [(size, engine.choose(*size)) for size in sizes]
    for name, other in ((ExactEngine.name, PynndescentEngine.name), (PynndescentEngine.name, ExactEngine.name)):
        mine = [(size, choice) for size, choice in chosen if choice.engine.name == name]
        if not mine:
            continue
        exact = clock(sum(choice.exact or 0.0 for _, choice in mine))
        repeated = DESCENT_COMPILE * (len(mine) - 1)  # a process compiles once
        approximate = clock(sum(choice.approximate or 0.0 for _, choice in mine) - repeated)
        what = f"neighbors=auto: {name} for {len(mine)} graph{'s' if len(mine) > 1 else ''} ({_sizes(mine)})"
        threads = f"with {THREADS} threads"  # of the estimates: the choice does not depend on the machine
        if name == PynndescentEngine.name:
            miss = f"where its recall is below {engine.min_recall}, {other}"
            why = f"about {approximate} instead of {exact} {threads}; {miss}"
        elif engine.min_recall > REACHED_RECALL:
            why = f"about {exact} {threads}; {other} is not relied on for a recall above {REACHED_RECALL}"
        else:
            why = f"about {exact} {threads}, {other} about {approximate}, worth trying only where it takes half as long"
        lines.append(f"{what}: {why}")
    return lines


def _sizes(chosen: list[tuple[Size, Choice]]) -> str:
    parts = []
    for at, name in enumerate(("samples", "features")):
        values = [size[at] for size, _ in chosen]
        low, high = min(values), max(values)
        parts.append(f"{low:,} {name}" if low == high else f"{low:,} to {high:,} {name}")
    k = sorted({size[2] for size, _ in chosen})
    return ", ".join([*parts, "k = " + " and ".join(map(str, k))])
