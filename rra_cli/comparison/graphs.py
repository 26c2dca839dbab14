"""The neighbour graphs of runs, read from their stores and checked."""

from __future__ import annotations

from pathlib import Path

from rra_cli.comparison.runs import FinishedRun, GraphRow
from rra_cli.core.meta import Damage, open_artifact, verify_contents
from rra_cli.core.store import Store
from rra_cli.errors import UserError
from rra_cli.metrics.estimate import collapsed
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.io import load_graph


class GraphReader:
    """Graphs from the stores of runs, each checked against its checksums once. Raises UserError where one is damaged,
    missing, or not what the run's manifest says."""

    def __init__(self) -> None:
        self._known: dict[Path, NeighborGraph | str] = {}
        self._verified: set[Path] = set()

    def read(self, run: FinishedRun, row: GraphRow) -> NeighborGraph | str:
        """The graph of k neighbours (memory-mapped), or why there are none to read."""
        store = Store(run.store)
        path = store.root / row.path
        if path not in self._known:
            self._known[path] = row.reason or self._load(store, path, row)
        return self._known[path]

    def release(self) -> None:
        """Closes the files: thousands of memory maps at once are more than a system allows."""
        self._known.clear()

    def _load(self, store: Store, path: Path, row: GraphRow) -> NeighborGraph | str:
        try:
            artifact = open_artifact(path, None, None)
            if artifact.spec.stage != "graph" or store.folder(artifact.spec, artifact.entry) != path:
                raise Damage("it is not the artifact that its name says")
            if path not in self._verified:
                verify_contents(artifact)
                self._verified.add(path)
            graph = load_graph(path, row.k)
        except FileNotFoundError:
            raise UserError(f"the graph {row.path} is no longer in the store") from None
        except (Damage, OSError, ValueError) as error:
            raise UserError(f"the graph {row.path} is damaged: {error} (remove that folder)") from error
        if len(graph) != row.n_samples:
            raise UserError(f"the graph {row.path} has {len(graph)} samples, but the run measured {row.n_samples}")
        return collapsed(graph) or graph
