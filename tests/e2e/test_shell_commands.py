"""Commands from the shell: what they re-use of stored results, plan, draw again, refuse to enter, and end by Ctrl-C."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from by_hand import digit_pixels
from shell import (
    COMMON,
    QUICK,
    ROW,
    environment,
    graphs,
    planned,
    rra,
    run_folders,
    run_ok,
    states,
    stored,
    table,
    table_bytes,
)

pytestmark = pytest.mark.long


def test_second_run_executes_nothing(quick: Path, outputs: Path) -> None:
    before, start = stored(outputs), time.monotonic()
    again = run_ok(*QUICK, outputs=outputs)
    assert time.monotonic() - start < 60, "4 seconds on a quiet machine"
    assert stored(outputs) == before
    assert table_bytes(again) == table_bytes(quick)


def test_plan_says_cached_and_writes_no_run_folder(quick: Path, outputs: Path) -> None:
    folders, files = run_folders(outputs), stored(outputs)
    assert {state for _, state, _ in planned(*QUICK, outputs=outputs)} == {"cached"}
    assert run_folders(outputs) == folders
    assert stored(outputs) == files


def test_plan_knows_what_a_change_costs(quick: Path, outputs: Path) -> None:
    """Execution fields: nothing. A larger k: graphs, not activations. A seed: everything but the input layer."""
    fields = ["runtime.threads=1", "runtime.memory=1GB", "runtime.progress=none"]
    assert {state for _, state, _ in planned(*QUICK, *fields, outputs=outputs)} == {"cached"}
    larger = planned(*QUICK, "neighbors.k=15", outputs=outputs)
    assert states(larger, "train") == states(larger, "capture") == {"cached"}
    assert states(larger, "graph") == {"missing"}
    seed = planned(*QUICK, "seed=1", outputs=outputs)
    assert states(seed, "train") == {"missing"}
    for stage in ("capture", "graph"):
        assert {(state, of_input) for name, state, of_input in seed if name == stage} == {
            ("cached", True),
            ("missing", False),
        }


def test_changed_metrics_re_use_graphs(quick: Path, outputs: Path) -> None:
    """Another fit, and what is written on request: the values by class and by sample average to the value."""
    import pandas as pd

    before = graphs(outputs)
    on_request = ["metrics.per_class=true", "metrics.per_sample=true"]
    run = run_ok(*QUICK, "metrics.id_twonn.fit=linear", *on_request, outputs=outputs)
    assert graphs(outputs) == before
    layers = table(run, "layers")
    pairs = list(zip(layers, table(quick, "layers"), strict=True))
    assert all(a["nncs"] == b["nncs"] for a, b in pairs)
    assert all(a["id_twonn"] != b["id_twonn"] for a, b in pairs)

    nncs = {tuple(row[c] for c in ROW[:3]): float(row["nncs"]) for row in layers}
    _, labels = zip(*(digit_pixels(split) for split in ("train", "test")), strict=True)
    sizes = dict(zip(("train", "test"), map(np.bincount, labels), strict=True))
    by_class: dict[tuple[str, ...], dict[int, float]] = {}
    for row in table(run, "per_class"):
        assert set(row) >= {*COMMON, "k", "metric", "class", "value", "chance", "n_used"}
        if row["metric"] == "nncs":
            by_class.setdefault(tuple(row[c] for c in ROW[:3]), {})[int(row["class"])] = float(row["value"])
    assert set(by_class) == set(nncs)
    for key, values in by_class.items():
        weights = sizes[key[1]]
        if sum(weights) == int(next(r["n_samples"] for r in layers if r["split"] == key[1])):
            mean = sum(values[c] * weights[c] for c in range(10)) / sum(weights)
            assert mean == pytest.approx(nncs[key], rel=1e-9)

    fractions: Counter[tuple[str, ...]] = Counter()
    for row in table(run, "class_neighbors"):
        fractions[(*(row[c] for c in ROW[:3]), row["class"])] += float(row["fraction"])
        if row["class"] == row["neighbor_class"]:
            own = by_class[tuple(row[c] for c in ROW[:3])][int(row["class"])]
            assert float(row["fraction"]) == pytest.approx(own, rel=1e-9, abs=1e-12)
    assert len(fractions) == 10 * len(nncs)
    np.testing.assert_allclose(list(fractions.values()), 1, rtol=1e-9)

    (file,) = run.rglob("per_sample/nncs.parquet")
    samples = pd.read_parquet(file)
    means = samples.astype({"value": float}).groupby(["checkpoint", "split", "layer"])["value"].mean()
    assert {tuple(map(str, key)) for key in means.index} == set(nncs)
    for key, mean in means.items():
        assert mean == pytest.approx(nncs[tuple(map(str, key))], rel=1e-9)
    one = samples[(samples["checkpoint"] == "last") & (samples["split"] == "test") & (samples["layer"] == "input")]
    assert one["sample_id"].is_unique


def test_report_renders_plots_from_the_tables(quick: Path, outputs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(quick, copy)
    names = sorted(p.name for p in (copy / "plots").iterdir())
    shutil.rmtree(copy / "plots")
    (copy / "report.html").unlink()
    done = rra("report", str(copy), outputs=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (copy / "plots").iterdir()) == names
    assert (copy / "report.html").stat().st_size > 1000


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["ls"], ["ls", "model"], ["doctor"]], ids=" ".join)
def test_other_commands(arguments: list[str], tmp_path: Path) -> None:
    done = rra(*arguments, outputs=tmp_path / "outputs", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 3
    if arguments == ["ls", "model"]:
        assert "resnet20" in done.stdout
    if arguments == ["--version"]:
        assert re.search(r"\d+\.\d+", done.stdout)


def test_a_run_folder_is_entered_again_only_with_an_equal_config(outputs: Path, activations: Path) -> None:
    target = outputs / "fixed"
    arguments = ["+experiment=from_activations", f"activations.path={activations}", f"hydra.run.dir={target}"]
    first = rra("run", *arguments, "neighbors.k=4", outputs=outputs)
    assert first.returncode == 0, first.stderr
    content = table_bytes(target)
    again = rra("run", *arguments, "neighbors.k=4", outputs=outputs)
    assert again.returncode == 0, again.stderr
    assert table_bytes(target) == content
    other = rra("run", *arguments, "neighbors.k=3", outputs=outputs)
    assert other.returncode == 2
    assert "Traceback" not in other.stderr + other.stdout
    assert table_bytes(target) == content


def test_interrupted_is_130_and_resumes(tmp_path: Path) -> None:
    """Ctrl-C while it trains; the same command then ends as if nothing had happened."""
    outputs = tmp_path / "outputs"
    arguments = ["+experiment=quickstart", "method.epochs=400", "runtime.device=cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "rra_cli", "run", *arguments],
        env=environment(outputs), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline and not list(outputs.rglob("*.work")):
            time.sleep(0.1)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 130, text
    assert "Traceback" not in text
    assert re.search(r"again|resume|continue|same command", text, re.IGNORECASE), text
