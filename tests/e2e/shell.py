"""Commands in new processes, as a user gives them, and what they left in run folder and store."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

# The quick start's data and pipeline with a network of three layers, one epoch and one checkpoint, to be cheap; drawing
# takes longer than all else.
QUICK = [
    "+experiment=quickstart",
    "model=mlp",
    "model.depth=1",
    "method.epochs=1",
    "method.milestones=[]",
    "neighbors.k=10",
    "runtime.device=cpu",
    "runtime.report=false",
    "dataset.n_samples=null",
]
COMMON = ["checkpoint", "epoch", "split", "layer", "index", "pool", "scale", "subset", "n_samples"]
SIDE = ["model", "checkpoint", "split", "layer", "pool", "scale"]
COLUMNS = {
    "layers": [*COMMON, "n_features", "k", "id_twonn", "nncs"],
    "metrics": [*COMMON, "k", "metric", "value", "std_error", "chance", "n_used", "reason", "engine", "recall"],
    "nnls": [*(f"{c}_a" for c in SIDE), *(f"{c}_b" for c in SIDE), "subset", "n_samples", "k", "nnls"],
    "mu": [*COMMON, "quantile", "mu"],
}
ROW = ["checkpoint", "split", "layer", "pool", "scale", "subset", "n_samples", "k"]
KEYS = {
    "layers": ROW,
    "metrics": [*ROW, "metric", "engine"],
    "nnls": COLUMNS["nnls"][:-1],
    "mu": [*COMMON, "quantile"],
}


def environment(outputs: Path, **extra: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HYDRA_", "RRA_"))}
    return kept | {"RRA_OUTPUTS": str(outputs), "OMP_NUM_THREADS": "2", "COLUMNS": "200", "NO_COLOR": "1"} | extra


def rra(*arguments: str, outputs: Path, cwd: Path | None = None, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rra_cli", *arguments],
        env=environment(outputs, **extra),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
    )


def run_ok(*arguments: str, outputs: Path, **extra: str) -> Path:
    """Runs, insists on success, and gives the run folder that is new."""
    before = run_folders(outputs)
    done = rra("run", *arguments, outputs=outputs, **extra)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Traceback" not in done.stdout + done.stderr
    (new,) = run_folders(outputs) - before
    assert str(new) in re.sub(r"\s", "", done.stdout + done.stderr) or new.name in done.stdout + done.stderr
    return new


def run_folders(outputs: Path) -> set[Path]:
    """`<date>/<time>_<experiment>`: whatever holds a `.hydra` or `status.json` and is no part of the store."""
    return {path for path in outputs.glob("[0-9]*-[0-9]*-[0-9]*/*") if path.is_dir()}


def table(run: Path, name: str) -> list[dict[str, str]]:
    with (run / "tables" / f"{name}.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def table_bytes(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "tables").glob("*.csv"))}


def stored(outputs: Path, pattern: str = "**/*") -> dict[str, int]:
    """Every artifact's files with their modification times: what is not executed is not touched."""
    store = outputs / "store"
    return {
        str(path.relative_to(store)): path.stat().st_mtime_ns
        for path in store.glob(pattern)
        if path.is_file() and (path.suffix in {".npy", ".npz", ".pt", ".safetensors"} or path.name == "meta.json")
    }


def planned(*arguments: str, outputs: Path) -> Counter[tuple[str, str, bool]]:
    """What `rra plan` says: how many stages by (stage, state, of the input layer)."""
    done = rra("plan", *arguments, outputs=outputs)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = re.findall(r"^ *(train|capture|graph|measure) +(.*?) +(cached|missing|stale)\b", done.stdout, re.MULTILINE)
    assert lines, done.stdout
    return Counter((stage, state, bool(re.search(r"\binput\b", what))) for stage, what, state in lines)


def states(plan: Counter[tuple[str, str, bool]], stage: str) -> set[str]:
    return {state for name, state, _ in plan if name == stage}


def graphs(outputs: Path) -> set[Path]:
    return {path for path in (outputs / "store").glob("**/k=*") if path.is_dir()}


def refused(arguments: list[str], outputs: Path, *words: str, ran: bool = False, **extra: str) -> str:
    """Gives the command, which has to be refused; see `assert_refused`."""
    done = rra("run", *arguments, outputs=outputs, **extra)
    return assert_refused(done.returncode, done.stdout + done.stderr, outputs, *words, ran=ran)


def assert_refused(code: int, text: str, outputs: Path, *words: str, ran: bool = False) -> str:
    """Exit 2, no traceback, a message with the words, nothing half-written. ran: a run folder may say why."""
    assert code == 2, f"exit {code}\n{text[-3000:]}"
    assert "Traceback" not in text
    message = re.sub(r"\s+", " ", text)
    for word in words:
        assert re.search(word, message, re.IGNORECASE), f"{word!r} is not in: {text}"
    if outputs.exists():
        files = [path for path in outputs.rglob("*") if path.is_file()]
        for path in files:
            assert path.suffix not in {".csv", ".parquet", ".png", ".svg", ".html"}, path
            assert ".work" not in str(path), path
            assert not path.name.endswith(".tmp"), path
        if not ran:
            assert not run_folders(outputs), "a run folder of a run that never began"
    return message
