"""What is right, by reader: from which the fuzzers start."""

from __future__ import annotations

import io
import json

import numpy as np
import torch
import yaml
from PIL import Image

from rra_cli.cli import job as jobs
from rra_cli.config.compose import composed
from rra_cli.core.process import Owner
from rra_cli.report.tables.schema import SEARCH_TIMES_COLUMNS

KEY = "0" * 64
DEFAULTS = jobs.plain(jobs.without_hydra(composed([], [])[0]))


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
_PROVENANCE = {
    "command": "rra run", "argv": ["rra", "run"], "packages": {"rra": "0.1.0"}, "data": {"x.npy": f"sha256:{KEY}"},
    "git": {"package": {"commit": "a", "changed": [" M x.py"]}}, "hardware": {"cpu": "c", "gpus": [{"name": "g"}]},
}  # fmt: skip
_GRAPH_ROW = {
    "checkpoint": "last", "epoch": 1, "split": "test", "layer": "a", "index": 0, "pool": "none", "scale": 1,
    "n_samples": 2, "k": 1, "path": f"graph/{KEY}/k=1", "reason": "",
}  # fmt: skip
_MANIFEST = {"store": "../store", "samples": {"test": {"n": 2}}, "graphs": [_GRAPH_ROW], "artifacts": []}
_OURS = yaml.safe_dump({key: DEFAULTS[key] for key in ("dataset", "method", "optimizer")}).encode()
_SEARCH = ",".join(SEARCH_TIMES_COLUMNS).encode()
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
    "an_array_of_an_artifact": (_npy(np.arange(6.0).reshape(2, 3)),),
    "a_result": (_text({"figures": [{"value": 1.0}, {"value": None}], "arrays": {"x": [0, 1]}}),),
    "what_a_graph_says": (_text({"engine": "exact", "recall": 1.0}), _text({"reason": "NaN"})),
    "a_store_with_a_strange_artifact": (_text(_META),),
    "a_note": (_text({"run_folder": "/x", "artifacts": [f"a/{KEY}"], "released": [], "host": "h", "relative": "x"}),),
    "an_announcement": (_text([f"graph/{KEY}"]),),
    "a_lease": (_text(Owner.this_process().as_json()),),
    "a_sweep": (_text({**_SWEEP, "config_dirs": [], "jobs": [_JOB]}),),
    "how_a_job_ended": (_text({"code": 2, "folder": "/x", "message": "it failed\nhere"}),),
    "a_status": (_text(_STATUS),),
    "a_provenance": (_text(_PROVENANCE),),
    "a_manifest": (_text(_MANIFEST),),
    "hydras_record": (b"hydra: {runtime: {choices: {model: mlp, seed: 1}}}\n",),
    "a_runs_configuration": (_YAML, _OURS, b"seed: 3\nstore: {root: /x}\n"),
    "a_strangers_run": (b"/x/y", b"null", b"'~'", b"{a: 1}"),
    "a_users_option": (_YAML,),
    "a_table": (_TABLE,),
    "a_training_curve": (_CURVE,),
    "search_times": (_SEARCH + b"\n" + b",".join([b"1"] * len(SEARCH_TIMES_COLUMNS)) + b"\n",),
    "what_was_drawn": (_text({"inputs": "x", "files": {"plots/a.png": KEY}}),),
    "a_picture": tuple(_picture(kind) for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "GIF")),
    "a_checkpoint": (_checkpoint(),),
    "a_graph": (
        _text({"n_samples": 2, "k": 1, "n_reference": 2, "self_excluded": False, "recall": 1.0, "engine": "exact"}),
    ),
    "the_state_of_a_search": (_npy(np.arange(3)) + _npy(np.zeros((2, 2))), b""),
    "a_captures_progress": (_text({"rows": 2, "n_samples": 4, "batch_size": 2, "layers": [_ENTRY]}),),
    "a_remembered_hash": (_text({"path": "/x", "signature": {}, "hash": f"sha256:{KEY}"}),),
    "hashes_of_pictures": (_text({"folder": "/x", "files": {"a.png": [1, 2, 3, 4, 5, KEY]}}),),
    "decoded_pictures": (_npy(np.zeros((2, 3), np.uint8)),),
    "an_idx_file": (b"\0\0\x08\x02\0\0\0\x02\0\0\0\x03abcdef",),
    "an_age": (b"7d", b"1.5h", b"0"),
}  # fmt: skip
