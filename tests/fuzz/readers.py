"""Every reader of what others may have written, as a function of bytes that must end as its documentation says.

A target returns, or raises what is a fault here: anything but the exceptions that its reader documents. SEEDS holds, by
target, what is right, from which the fuzzers start.
"""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from rra_cli.activations import npy
from rra_cli.activations.files import read_folder
from rra_cli.activations.stream import PROGRESS, _read_progress
from rra_cli.cli.gc import parse_age
from rra_cli.comparison.find import unfinished
from rra_cli.config import catalog
from rra_cli.config.overrides import check
from rra_cli.config.safety import file_faults
from rra_cli.core.artifact import Damage, open_artifact
from rra_cli.core.hashing import HashCache
from rra_cli.core.lease import Lease
from rra_cli.core.process import Owner
from rra_cli.core.reading import read_json, read_yaml
from rra_cli.core.rundir import LiveRuns, read_config
from rra_cli.core.runstate import Watcher
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.core.survey import survey
from rra_cli.core.sweepdir import read as read_sweep
from rra_cli.data.pictures import Rendering, decode
from rra_cli.errors import UserError
from rra_cli.neighbors.io import load_graph
from rra_cli.report.load import read_training
from rra_cli.report.tables import read_table
from rra_cli.training.checkpoint import read_tensors

OPTIONS = catalog.options()
KEY = "0" * 64


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
    with holding("lease/first/owner.json", content) as folder, suppress(UserError):
        Lease(folder / "lease").pulse()


def a_sweep(content: bytes) -> None:
    with holding("sweep.json", content) as folder, suppress(UserError):
        sweep = read_sweep(folder)
        assert all(str(sweep.folder(job)).startswith(f"{folder}/") for job in sweep.jobs)


def a_status(content: bytes) -> None:
    with holding("status.json", content) as folder:
        Watcher().look(folder)
        assert folder not in LiveRuns()
        unfinished(folder)


def a_runs_configuration(content: bytes) -> None:
    with holding("config.yaml", content) as folder, suppress(UserError):
        read_config(folder)


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
        a_store_with_a_strange_artifact,
        a_note,
        an_announcement,
        a_lease,
        a_sweep,
        a_status,
        a_runs_configuration,
        a_table,
        a_training_curve,
        a_picture,
        a_checkpoint,
        a_graph,
        a_captures_progress,
        a_remembered_hash,
        an_age,
    )
}


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(12 * 9 * 3, dtype=np.uint8).reshape(12, 9, 3)).save(buffer, kind)
    return buffer.getvalue()


def _checkpoint() -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": torch.arange(6.0).reshape(2, 3)}, buffer)
    return buffer.getvalue()


def _text(value: object) -> bytes:
    return json.dumps(value).encode()


_META = {
    "format": 1,
    "spec": {"stage": "graph", "version": 1, "identity": {"k": 3}, "upstream": [KEY]},
    "entry": None,
    "package": "0.1.0",
    "details": {"n_features": 3},
    "files": {"a.bin": {"size": 10, "sha256": "0" * 64}},
}
_YAML = b"""# @package _global_
# Mine.
defaults:
  - override /model: mlp
seed: &s 3
method: {epochs: 1, x: *s, <<: {a: 1.5}}
dataset: {root: '${oc.env:HOME}/data'}
"""
_JOB = {"number": 0, "folder": "seed=0", "overrides": ["seed=0"], "differs": ["seed=0"], "source": None}
_SWEEP = {
    "experiment": "x",
    "identity": "0" * 64,
    "command": "rra run",
    "cwd": "/",
    "rra": "0.1.0",
    "launcher": "basic",
}
_STATUS = {
    "state": "running", "stage": "train", "message": "", "traceback": "", "host": "h", "pid": 1,
    "progress": [{"title": "t", "done": 1, "total": 2, "note": ""}], "left": 3.0, "seconds": 1.5,
}  # fmt: skip
_ENTRY = {"layer": "a", "module": "a", "pooling": {"pool": "none", "scale": 1}, "features": 3, "nonfinite_rows": 0}
_CURVE = b'{"epoch": 0, "test_accuracy": null}\n{"epoch": 1, "test_accuracy": 0.5, "lr": {"a": [1]}}\n'
_HEADER = (
    b"checkpoint,epoch,split,layer,index,pool,scale,subset,n_samples,k,metric,value,std_error,chance,n_used,reason,"
)
_TABLE = _HEADER + b"engine,recall,dataset\nlast,1,test,a,0,none,1,0,10,3,nncs,0.5,0.1,0.1,10,,exact,1.0,\n"

SEEDS: dict[str, tuple[bytes, ...]] = {
    "an_array": (_npy(np.arange(6.0).reshape(3, 2)), _npy(np.zeros((2, 2), np.float16, order="F"))),
    "a_folder_of_activations": (_npy(np.zeros((4, 2, 2), np.uint8)),),
    "labels": (_npy(np.array([0, 1, 1, 0])), _npy(np.array([0.0, 1.0, 1.0, 2.0]))),
    "json_text": (_text(_META),),
    "yaml_text": (_YAML,),
    "a_users_yaml": (_YAML,),
    "an_override": (b"method.epochs=3", b"+experiment=quickstart", b"seed=range(3)", b"model=mlp,x", b"a={b: [1]}"),
    "an_artifact": (_text(_META),),
    "a_store_with_a_strange_artifact": (_text(_META),),
    "a_note": (_text({"run_folder": "/x", "artifacts": [f"a/{KEY}"], "released": [], "host": "h", "relative": "x"}),),
    "an_announcement": (_text([f"graph/{KEY}"]),),
    "a_lease": (_text(Owner.this_process().as_json()),),
    "a_sweep": (_text({**_SWEEP, "config_dirs": [], "jobs": [_JOB]}),),
    "a_status": (_text(_STATUS),),
    "a_runs_configuration": (_YAML,),
    "a_table": (_TABLE,),
    "a_training_curve": (_CURVE,),
    "a_picture": tuple(_picture(kind) for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "GIF")),
    "a_checkpoint": (_checkpoint(),),
    "a_graph": (
        _text({"n_samples": 2, "k": 1, "n_reference": 2, "self_excluded": False, "recall": 1.0, "engine": "exact"}),
    ),
    "a_captures_progress": (_text({"rows": 2, "n_samples": 4, "batch_size": 2, "layers": [_ENTRY]}),),
    "a_remembered_hash": (_text({"path": "/x", "signature": {}, "hash": f"sha256:{KEY}"}),),
    "an_age": (b"7d", b"1.5h", b"0"),
}  # fmt: skip
