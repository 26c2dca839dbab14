"""A finished run as a comparison sees it: configuration, seed, tables, training curve, and where its graphs lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rra_cli.comparison.find import Found, names_of
from rra_cli.comparison.pullback_run import read_pullback
from rra_cli.core.progress import Progress, silent
from rra_cli.core.reading import read_json, read_yaml
from rra_cli.core.runfiles import MANIFEST, read_config
from rra_cli.errors import UserError
from rra_cli.report.load import read_training
from rra_cli.report.tables.reading import read_table
from rra_cli.report.tables.schema import REQUIRED

if TYPE_CHECKING:
    import pandas as pd

_AGAIN = "the same `rra run` again completes it; nothing is computed anew"


@dataclass(frozen=True)
class Place:
    """Where layers of several models can be put beside each other: one checkpoint, split and pooling."""

    checkpoint: str
    split: str
    pool: str
    scale: int


@dataclass(frozen=True)
class GraphRow:
    """A neighbour graph of a run. path: below the store. reason: why it holds no neighbours ("" where it does)."""

    place: Place
    layer: str
    index: int
    epoch: int | None
    n_samples: int
    k: int
    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """name: of its folder among the others. seed: None where nothing is random (a user's files).

    layers, metrics: its tables. training: a row an epoch, None without training. samples: by split, what decides which
    were measured. graphs: empty where `no_graphs` says why. choices: which option of a group was chosen, where known.
    trainings: keys of the training that its network came from, empty where nothing was trained. pullback: its table of
    volume elements, None without; a run may have measured nothing else. anchors: the samples that their lines or planes
    go through, likewise.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    seed: int | None
    layers: pd.DataFrame
    metrics: pd.DataFrame
    training: pd.DataFrame | None = None
    store: Path = Path()
    samples: Mapping[str, Any] = field(default_factory=dict)
    graphs: tuple[GraphRow, ...] = ()
    no_graphs: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    trainings: tuple[str, ...] = ()
    pullback: pd.DataFrame | None = None
    anchors: pd.DataFrame | None = None


@dataclass(frozen=True)
class LeftOut:
    """A folder that is not part of the comparison, and why."""

    name: str
    reason: str


def read_runs(found: Sequence[Found], progress: Progress = silent) -> tuple[list[FinishedRun], list[LeftOut]]:
    """All runs that can be read, and those that cannot, in the order in which they were found."""
    runs, left_out = [], []
    for done, (name, each) in enumerate(zip(names_of([each.folder for each in found]), found, strict=True)):
        progress(done, len(found), name)
        try:
            if each.reason:
                raise UserError(each.reason)
            runs.append(read_run(name, each.folder))
        except UserError as error:
            left_out.append(LeftOut(name, error.message.replace(str(each.folder), "").strip(" /")))
    progress(len(found), len(found), "")
    return runs, left_out


def read_run(name: str, folder: Path) -> FinishedRun:
    """Raises UserError where the run's configuration or tables are missing or damaged."""
    config = read_config(folder)
    if not isinstance(config, Mapping):
        raise UserError("config.yaml is damaged: expected a mapping")
    missing = [f"{table}.csv" for table in REQUIRED if not (folder / "tables" / f"{table}.csv").is_file()]
    if missing:
        raise UserError(f"tables/{' and '.join(missing)} missing")
    tables = {table: read_table(folder / "tables", table) for table in REQUIRED}
    looked = read_pullback(folder)
    if tables["metrics"].empty and (looked["pullback"] is None or looked["pullback"].empty):
        raise UserError("tables/metrics.csv has no rows, nor has pullback.csv: it measured nothing")
    seed = config.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise UserError(f"config.yaml is damaged: the seed is {seed!r}")
    run: dict[str, Any] = {"name": name, "folder": folder, "config": config, "seed": seed, **tables}
    return FinishedRun(
        **run,
        training=read_training(folder / "training.jsonl"),
        **_manifest(folder),
        choices=_choices(folder / ".hydra" / "hydra.yaml"),
        **looked,
    )


def _manifest(folder: Path) -> dict[str, Any]:
    """Store, samples and graphs of a run; what is wrong with its manifest only keeps it from paired comparisons."""
    try:
        manifest = read_json(folder / MANIFEST)
        if "graphs" not in manifest or "samples" not in manifest:
            raise ValueError("it does not say which layer a graph belongs to (an earlier version of rra wrote it)")
        graphs = tuple(_graph(row) for row in manifest["graphs"])
        samples, store = manifest["samples"], str(manifest["store"])
        artifacts = manifest.get("artifacts", [])
        if "\0" in store:
            raise ValueError(f"no store is called {store!r}")
        if not isinstance(samples, Mapping) or not all(isinstance(each, Mapping) for each in samples.values()):
            raise TypeError("`samples` is not a mapping of mappings")
        no_graphs = "" if graphs else "it searched no neighbours (none of its metrics reads them)"
        return {
            "store": folder / store,
            "samples": samples,
            "graphs": graphs,
            "no_graphs": no_graphs,
            "trainings": tuple(sorted({str(row["key"]) for row in artifacts if row["stage"] == "train"})),
        }
    except FileNotFoundError:
        return {"no_graphs": f"{MANIFEST} is missing: {_AGAIN}"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        return {"no_graphs": f"{MANIFEST} cannot be used: {error}: {_AGAIN}"}


def _graph(row: Mapping[str, Any]) -> GraphRow:
    place = Place(str(row["checkpoint"]), str(row["split"]), str(row["pool"]), int(row["scale"]))
    epoch = None if row["epoch"] is None else int(row["epoch"])
    counts = int(row["n_samples"]), int(row["k"])
    return GraphRow(place, str(row["layer"]), int(row["index"]), epoch, *counts, str(row["path"]), str(row["reason"]))


def _choices(path: Path) -> dict[str, str]:
    """Group -> option, as Hydra noted it; it names groups of runs nicely and is missed where it is not there."""
    try:
        value = read_yaml(path)["hydra"]["runtime"]["choices"]
        return {str(group): str(option) for group, option in value.items() if isinstance(option, str)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
