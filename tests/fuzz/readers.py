"""Every reader of what others may have written, as a function of bytes that must end as its documentation says.

A target returns, or raises what is a fault here: anything but the exceptions that its reader documents. `seeds.SEEDS`
holds, by target, what is right.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from rich.console import Console
from seeds import DEFAULTS, KEY, SEEDS

from rra_cli.activations import npy
from rra_cli.activations.files import read_folder
from rra_cli.activations.stream import PROGRESS, _read_progress
from rra_cli.cli.again import _keep_places, data_changes
from rra_cli.cli.candidates import _defaults, _load
from rra_cli.cli.gc import parse_age
from rra_cli.cli.status_table import command_of, details, runs_table, summary, sweep_table
from rra_cli.comparison.find import find_runs, unfinished
from rra_cli.comparison.graphs import GraphReader
from rra_cli.comparison.runs import FinishedRun, _choices, _manifest
from rra_cli.config import catalog
from rra_cli.config.bind import bind
from rra_cli.config.overrides import check
from rra_cli.config.safety import file_faults
from rra_cli.console import printable
from rra_cli.core.artifact import Artifact, Damage, FileRecord, open_artifact
from rra_cli.core.hashing import HashCache
from rra_cli.core.lease import Lease
from rra_cli.core.provenance import changes_since
from rra_cli.core.reading import read_json, read_yaml
from rra_cli.core.rundir import LiveRuns, read_config, read_provenance
from rra_cli.core.runstate import RunState, Watcher
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.core.survey import survey
from rra_cli.core.sweepdir import read as read_sweep
from rra_cli.data.decoded import find_decoded
from rra_cli.data.idx_files import parse_idx
from rra_cli.data.picture_folder import _read_note
from rra_cli.data.pictures import Rendering, decode
from rra_cli.errors import UserError
from rra_cli.neighbors.io import load_graph
from rra_cli.neighbors.resume import _digest, read_state
from rra_cli.report.load import _read_search_times, read_training
from rra_cli.report.rendering import _read_record
from rra_cli.report.tables import read_table
from rra_cli.stages.graph import searched, unavailable
from rra_cli.stages.results import RESULT
from rra_cli.stages.results import load as load_result
from rra_cli.training.checkpoint import read_tensors

OPTIONS = catalog.options()


@contextmanager
def holding(name: str, content: bytes) -> Iterator[Path]:
    """A folder with that file in it."""
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        yield Path(folder)


def an_array(content: bytes) -> None:
    with holding("x.npy", content) as folder, suppress(npy.NpyError):
        header = npy.read_header(folder / "x.npy")
        if header.shape and header.shape[0] and header.dtype.kind in "fiu":
            np.asarray(npy.open_map(folder / "x.npy", header)[:1])


def a_folder_of_activations(content: bytes) -> None:
    with holding("000_x.npy", content) as folder, suppress(UserError):
        read_folder(folder)


def labels(content: bytes) -> None:
    with holding("labels.npy", content) as folder, suppress(UserError):
        np.save(folder / "000_x.npy", np.zeros((4, 2), np.float32))
        read_folder(folder)


def json_text(content: bytes) -> None:
    with holding("x.json", content) as folder, suppress(ValueError):
        read_json(folder / "x.json")


def yaml_text(content: bytes) -> None:
    with holding("x.yaml", content) as folder, suppress(ValueError):
        read_yaml(folder / "x.yaml")


def a_users_yaml(content: bytes) -> None:
    with holding("experiment/x.yaml", content) as folder:
        assert all(isinstance(fault, str) for fault in file_faults(folder / "experiment" / "x.yaml", folder))


def an_override(content: bytes) -> None:
    check([content.decode("utf-8", "replace")], OPTIONS, sweep=True)


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


def a_sweep(content: bytes) -> None:
    """Also as `rra status` and `rra compare` see it."""
    with holding("sweep.json", content) as folder, suppress(UserError):
        sweep = read_sweep(folder)
        assert all(str(sweep.folder(job)).startswith(f"{folder}/") for job in sweep.jobs)
        states = [Watcher().look_at(sweep, job) for job in sweep.jobs]
        shown(sweep_table(sweep, states, 20), states)
        find_runs([folder])


def how_a_job_ended(content: bytes) -> None:
    with holding(".jobs/0.json", content) as folder:
        (folder / "sweep.json").write_bytes(SEEDS["a_sweep"][0])
        sweep = read_sweep(folder)
        shown(sweep_table(sweep, states := [Watcher().look_at(sweep, job) for job in sweep.jobs]), states)


def a_status(content: bytes) -> None:
    with holding("status.json", content) as folder:
        states = [Watcher().look(folder)]
        assert folder not in LiveRuns()
        unfinished(folder)
        shown(runs_table(states), states)


def shown(table: object, states: list[RunState]) -> None:
    """On a terminal that takes everything."""
    Console(file=(text := io.StringIO()), force_terminal=False, width=100).print(table)
    for line in (summary(states), *details(states, [str(state.path) for state in states])):
        text.write(printable(line))
    assert "\x1b" not in text.getvalue()


def a_provenance(content: bytes) -> None:
    with holding("provenance.json", content) as folder:
        assert all(isinstance(line, str) for line in changes_since(read_provenance(folder) or {}, {}))
        data_changes(folder, folder)
        command_of(folder)


def a_manifest(content: bytes) -> None:
    """As `rra compare` reads it: what it names is looked for, wherever it says that it lies."""
    with holding("manifest.json", content) as folder:
        found = _manifest(folder)
        empty = {"layers": pd.DataFrame(), "metrics": pd.DataFrame()}
        run = FinishedRun(name="x", folder=folder, config={}, seed=0, **empty, **found)
        for row in run.graphs:
            with suppress(UserError):
                GraphReader().read(run, row)


def hydras_record(content: bytes) -> None:
    with holding(".hydra/hydra.yaml", content) as folder:
        assert isinstance(_choices(folder / ".hydra" / "hydra.yaml"), dict)


def a_runs_configuration(content: bytes) -> None:
    """As `rra run --from` reads it."""
    with holding("config.yaml", content) as folder, suppress(UserError):
        found = read_config(folder)
        if isinstance(found, dict):
            bind({**DEFAULTS, **{str(key): value for key, value in found.items()}}, "x")


def a_strangers_run(content: bytes) -> None:
    """No text in a run folder says where anything is written."""
    text = b"dataset: {name: mnist}\nstore: {root: " + content + b"}\n"
    with holding("config.yaml", text) as folder, suppress(UserError):
        found = read_config(folder)
        _keep_places(found, [])
        root = found["store"]["root"] if isinstance(found.get("store"), dict) else None
        assert not isinstance(root, str) or os.path.isdir(os.path.join(root, "refs"))


def a_users_option(content: bytes) -> None:
    """As it is read to complete a word on the command line."""
    with holding("x.yaml", content) as folder:
        assert isinstance(_load(folder / "x.yaml"), dict)
        list(_defaults(folder / "x.yaml"))


def a_table(content: bytes) -> None:
    with holding("metrics.csv", content) as folder, suppress(UserError):
        read_table(folder, "metrics")


def a_training_curve(content: bytes) -> None:
    with holding("training.jsonl", content) as folder, suppress(UserError):
        read_training(folder / "training.jsonl")


def a_picture(content: bytes) -> None:
    # Whatever a decoder raises becomes a line that names the file; a MemoryError does not.
    with warnings.catch_warnings(), suppress(OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError):
        warnings.simplefilter("ignore")
        decode(content, Rendering((3, 8, 8)))


def a_checkpoint(content: bytes) -> None:
    with holding("x.pt", content) as folder:
        try:
            read_tensors(folder / "x.pt")
        except MemoryError:
            raise
        except Exception:  # torch fails in many ways; whoever loads a file names it and says what to do
            return


def a_graph(content: bytes) -> None:
    with holding("graph.json", content) as folder, suppress(UserError, ValueError):
        np.save(folder / "indices.npy", np.zeros((2, 1), np.int32))
        np.save(folder / "distances.npy", np.zeros((2, 1)))
        load_graph(folder)


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


def the_state_of_a_search(content: bytes) -> None:
    """Whoever writes it writes its checksum, too."""
    with holding("lists_x.state", b"") as folder:
        path = folder / "lists_x.state"
        (digest := _digest(path)).update(content)
        path.write_bytes(content + digest.digest())
        read_state(path)


def hashes_of_pictures(content: bytes) -> None:
    with holding("x.json", content) as folder:
        assert all(len(entry) == 6 for entry in _read_note(folder / "x.json", Path("/x")).values())


def decoded_pictures(content: bytes) -> None:
    with holding("x.npy", content) as folder:
        found = find_decoded(folder / "x.npy", (2, 3))
        assert found is None or found.shape == (2, 3)


def an_idx_file(content: bytes) -> None:
    with suppress(UserError):
        assert parse_idx(content, (2, 3), Path("x")).shape == (2, 3)


def search_times(content: bytes) -> None:
    with holding("search_times.csv", content) as folder, suppress(UserError):
        _read_search_times(folder / "search_times.csv")


def what_was_drawn(content: bytes) -> None:
    with holding("index.json", content) as folder:
        record = _read_record(folder / "index.json")
        assert record is None or all(isinstance(name, str) for name in record["files"])


def a_captures_progress(content: bytes) -> None:
    with holding(PROGRESS, content) as folder:
        assert isinstance(_read_progress(folder), dict)


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


def an_age(content: bytes) -> None:
    with suppress(UserError):
        assert parse_age(content.decode("utf-8", "replace")) >= 0


TARGETS: dict[str, Callable[[bytes], None]] = {
    function.__name__: function
    for function in (
        an_array,
        a_folder_of_activations,
        labels,
        json_text,
        yaml_text,
        a_users_yaml,
        an_override,
        an_artifact,
        an_array_of_an_artifact,
        a_result,
        what_a_graph_says,
        a_store_with_a_strange_artifact,
        a_note,
        an_announcement,
        a_lease,
        a_sweep,
        how_a_job_ended,
        a_status,
        a_provenance,
        a_manifest,
        hydras_record,
        a_runs_configuration,
        a_strangers_run,
        a_users_option,
        a_table,
        a_training_curve,
        search_times,
        what_was_drawn,
        a_picture,
        a_checkpoint,
        a_graph,
        the_state_of_a_search,
        a_captures_progress,
        a_remembered_hash,
        hashes_of_pictures,
        decoded_pictures,
        an_idx_file,
        an_age,
    )
}
