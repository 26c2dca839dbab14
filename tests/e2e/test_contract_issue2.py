"""The command line's public contract: tables, exit codes, re-use of stored results, a user's own files, bad input.

Everything goes through a new process, as a user's command does; numbers are compared with slow versions written here.
"""

from __future__ import annotations

import csv
import json
import os
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
from scipy.spatial.distance import cdist

pytestmark = pytest.mark.long

# The quick start's data and pipeline with a network of three layers, one epoch and one checkpoint, to be cheap.
QUICK = [
    "+experiment=quickstart",
    "model=mlp",
    "model.depth=1",
    "method.epochs=1",
    "method.milestones=[]",
    "neighbors.k=10",
    "runtime.device=cpu",
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


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contract") / "outputs"


@pytest.fixture(scope="session")
def quick(outputs: Path) -> Path:
    """One quick start of one epoch; every test that changes the store runs after those that look at it."""
    return run_ok(*QUICK, outputs=outputs)


# Slow versions of what the tables hold


def digit_pixels(split: str) -> tuple[np.ndarray, np.ndarray]:
    from rra_cli.core.component import component

    samples = component("dataset", "digits")().load(split)
    return samples.images.reshape(len(samples.images), -1).astype(np.float64), samples.labels


def lists_of(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Squares of integers are exact, so ties go to the lower id here too."""
    distances = cdist(x, x, "sqeuclidean")
    np.fill_diagonal(distances, np.inf)
    ids = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return ids, np.sqrt(np.take_along_axis(distances, ids, axis=1))


def twonn_of(x: np.ndarray) -> float:
    _, distances = lists_of(x, 2)
    kept = distances[:, 0] > 0
    return float(kept.sum() / np.log(distances[kept, 1] / distances[kept, 0]).sum())


def nncs_of(x: np.ndarray, labels: np.ndarray, k: int) -> float:
    return float((labels[lists_of(x, k)[0]] == labels[:, None]).mean())


def nnls_of(x: np.ndarray, y: np.ndarray, k: int) -> float:
    pairs = zip(lists_of(x, k)[0].tolist(), lists_of(y, k)[0].tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(set(a) | set(b)) for a, b in pairs]))


# The run folder


def test_run_folder_holds_what_a_person_reads(quick: Path, outputs: Path) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", quick.parent.name)
    assert re.fullmatch(r"\d\d-\d\d-\d\d-\d{6}_quickstart", quick.name)
    for name in (".hydra", "config.yaml", "run.log", "status.json", "provenance.json", "manifest.json", "report.html"):
        assert (quick / name).exists(), name
    plots = [path for path in (quick / "plots").iterdir() if not path.name.startswith(".")]
    assert {p.suffix for p in plots} == {".png", ".svg"}
    assert {p.stem for p in plots if p.suffix == ".png"} == {p.stem for p in plots if p.suffix == ".svg"}
    for name in ("status.json", "provenance.json", "manifest.json"):
        json.loads((quick / name).read_text())
    assert not list(quick.rglob("*.tmp")), "temporary files are left"
    assert not list((outputs / "store").rglob("*.work")), "unfinished work is left"


def test_training_history_has_one_line_an_epoch(quick: Path) -> None:
    lines = [json.loads(line) for line in (quick / "training.jsonl").read_text().splitlines()]
    trained = [line for line in lines if line["epoch"] > 0]
    assert [line["epoch"] for line in trained] == [1]


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_tables_have_the_published_columns(quick: Path, name: str) -> None:
    """In this order, where the order is published; more may follow."""
    rows = table(quick, name)
    assert rows
    columns = list(rows[0])
    assert [c for c in columns if c in COLUMNS[name]] == COLUMNS[name]
    assert columns[: len(COMMON)] == COMMON or name == "nnls"


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_rows_are_unique(quick: Path, name: str) -> None:
    counts = Counter(tuple(row[c] for c in KEYS[name]) for row in table(quick, name))
    assert counts.most_common(1)[0][1] == 1


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_parquet_beside_each_csv_says_the_same(quick: Path, name: str) -> None:
    import pandas as pd

    parquet = pd.read_parquet(quick / "tables" / f"{name}.parquet")
    rows = table(quick, name)
    assert list(parquet.columns) == list(rows[0])
    assert len(parquet) == len(rows)
    for column in parquet.columns:
        texts = [row[column] for row in rows]
        for value, text in zip(parquet[column], texts, strict=True):
            if text == "":
                assert value == "" or pd.isna(value)
            elif isinstance(value, str):
                assert value == text
            else:
                assert float(value) == pytest.approx(float(text), rel=1e-9)


def test_tables_hold_results_only(quick: Path, outputs: Path) -> None:
    for name, content in table_bytes(quick).items():
        assert str(outputs).encode() not in content, name
        assert str(Path.home()).encode() not in content, name
    for name, row in ((n, r) for n in ("layers", "metrics") for r in table(quick, n)):
        assert re.fullmatch(r"epoch_\d{4}|best|last", row["checkpoint"]), name
        assert row["split"] in ("train", "test")
        assert row["pool"] == "none"
        assert row["scale"] == "1"
        assert row["subset"] == "0"
        assert row["k"] == "10"
    assert {row["checkpoint"] for row in table(quick, "layers")} >= {"last"}
    for row in table(quick, "nnls"):
        assert re.fullmatch(r"[0-9a-f]{12}", row["model_a"])
        assert row["model_a"] == row["model_b"], "an intra-model table"


def test_layers_are_numbered_from_the_input(quick: Path) -> None:
    rows = table(quick, "layers")
    for group in {(row["checkpoint"], row["split"]) for row in rows}:
        mine = [row for row in rows if (row["checkpoint"], row["split"]) == group]
        assert [int(row["index"]) for row in mine] == list(range(len(mine)))
        assert mine[0]["layer"] == "input"
        assert mine[0]["n_features"] == "64"
        assert mine[-1]["n_features"] == "10"


@pytest.mark.parametrize("split", ["train", "test"])
def test_layer_0_is_the_pixels(quick: Path, split: str) -> None:
    """TwoNN and NNCS of the input row equal those of the raw digits; normalisation with one mean changes neither."""
    x, labels = digit_pixels(split)
    rows = [r for r in table(quick, "layers") if r["layer"] == "input" and r["split"] == split]
    assert rows
    for row in rows:
        assert float(row["id_twonn"]) == pytest.approx(twonn_of(x), rel=1e-5)
        # Ties at the tenth place of integer data may fall either way after normalisation in float32.
        assert float(row["nncs"]) == pytest.approx(nncs_of(x, labels, 10), abs=2e-3)


def test_metrics_table_agrees_with_the_layers_table(quick: Path) -> None:
    tidy = {(*[r[c] for c in ROW], r["metric"]): r for r in table(quick, "metrics")}
    layers = table(quick, "layers")
    for row in layers:
        for metric in ("id_twonn", "nncs"):
            entry = tidy[(*[row[c] for c in ROW], metric)]
            assert float(entry["value"]) == pytest.approx(float(row[metric]), rel=1e-12)
            assert entry["reason"] == ""
            assert entry["engine"] == "exact"
            assert float(entry["recall"]) == 1.0
            assert 0 < int(entry["n_used"]) <= int(row["n_samples"])
            assert float(entry["std_error"]) > 0
        chance = float(tidy[(*[row[c] for c in ROW], "nncs")]["chance"])
        assert chance == pytest.approx(0.1, abs=0.005), "ten nearly equal classes"
        assert tidy[(*[row[c] for c in ROW], "id_twonn")]["chance"] == ""
        assert 0 <= float(row["nncs"]) <= 1
        assert float(row["id_twonn"]) > 0


def test_layer_similarity_is_symmetric_with_ones_on_the_diagonal(quick: Path) -> None:
    rows = table(quick, "nnls")
    value = {tuple(r[c] for c in COLUMNS["nnls"][:12]): float(r["nnls"]) for r in rows}
    layers = {r["layer"] for r in table(quick, "layers")}
    groups = {(r["checkpoint_a"], r["split_a"]) for r in rows}
    assert len(rows) == len(groups) * len(layers) ** 2
    for key, similarity in value.items():
        assert similarity == pytest.approx(value[key[6:] + key[:6]], rel=1e-12)
        assert 0 <= similarity <= 1
        assert similarity == 1.0 or key[:6] != key[6:]
    assert min(value.values()) < 0.99


def test_ratio_quantiles_ascend_from_one(quick: Path) -> None:
    rows = table(quick, "mu")
    for group in {tuple(r[c] for c in COMMON) for r in rows}:
        mine = [r for r in rows if tuple(r[c] for c in COMMON) == group]
        quantiles, values = ([float(r[c]) for r in mine] for c in ("quantile", "mu"))
        assert len(mine) == 201
        np.testing.assert_allclose(quantiles, np.linspace(0, 1, 201), atol=1e-9)
        assert values == sorted(values)
        assert values[0] >= 1


# Re-use (each of these leaves the store larger, none changes what is in it)


def test_second_run_executes_nothing(quick: Path, outputs: Path) -> None:
    before, start = stored(outputs), time.monotonic()
    again = run_ok(*QUICK, outputs=outputs)
    assert time.monotonic() - start < 20, "8 seconds on a quiet machine"
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


def test_smaller_k_re_uses_graphs(quick: Path, outputs: Path) -> None:
    before = graphs(outputs)
    assert before
    run = run_ok(*QUICK, "neighbors.k=5", outputs=outputs)
    assert graphs(outputs) == before
    for small, large in zip(table(run, "layers"), table(quick, "layers"), strict=True):
        assert small["k"] == "5"
        assert small["id_twonn"] == large["id_twonn"], "TwoNN has no k"
    assert [r["nncs"] for r in table(run, "layers")] != [r["nncs"] for r in table(quick, "layers")]


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


@pytest.mark.long
def test_execution_fields_re_use_everything(quick: Path, outputs: Path) -> None:
    before = stored(outputs)
    again = run_ok(*QUICK, "runtime.threads=1", "runtime.memory=1GB", outputs=outputs)
    assert stored(outputs) == before
    assert table_bytes(again) == table_bytes(quick)


@pytest.mark.long
def test_larger_k_re_uses_activations(quick: Path, outputs: Path) -> None:
    before, old = stored(outputs), graphs(outputs)
    run = run_ok(*QUICK, "neighbors.k=15", outputs=outputs)
    after = stored(outputs)
    assert {name: after.get(name) for name in before} == before
    assert len(graphs(outputs) - old) == len(old)
    assert {Path(name).parts[0] for name in set(after) - set(before)} <= {"graph", "measure"}
    assert {row["k"] for row in table(run, "layers")} == {"15"}


@pytest.mark.long
def test_new_seed_re_uses_layer_0(quick: Path, outputs: Path) -> None:
    old = graphs(outputs)
    run = run_ok(*QUICK, "seed=1", outputs=outputs)
    ours, theirs = table(run, "layers"), table(quick, "layers")
    for a, b in zip(ours, theirs, strict=True):
        assert (a == b) == (a["layer"] == "input")
    splits_and_checkpoints = {(r["checkpoint"], r["split"]) for r in theirs}
    n_layers = len({r["layer"] for r in theirs})
    assert len(graphs(outputs) - old) == len(splits_and_checkpoints) * (n_layers - 1)
    assert {r["model_a"] for r in table(run, "nnls")} != {r["model_a"] for r in table(quick, "nnls")}


def test_balanced_subset_of_an_untrained_network(outputs: Path) -> None:
    """Ten of each class: the chance level is exactly 9 / 99, and the default k = max(2, round(100 / 100)) is 2."""
    balanced = ["dataset.n_samples=100", "dataset.balanced=true"]
    run = run_ok(*QUICK[:3], "method=none", *balanced, outputs=outputs)
    rows = table(run, "metrics")
    assert {(r["n_samples"], r["k"]) for r in rows} == {("100", "2")}
    chances = {float(r["chance"]) for r in rows if r["metric"] == "nncs"}
    assert max(chances) == pytest.approx(9 / 99, rel=1e-12) == min(chances)
    assert {r["epoch"] for r in rows} == {"0"}


def test_balance_that_classes_cannot_give_names_the_largest_number(tmp_path: Path) -> None:
    _, labels = digit_pixels("test")
    largest = 10 * int(np.bincount(labels).min())
    assert largest < len(labels)
    subset = f"dataset.n_samples={{train: 100, test: {largest + 10}}}"
    words = [str(largest), str(largest + 10)]
    refused([*QUICK[:-1], subset, "dataset.balanced=true"], tmp_path / "outputs", *words, ran=True)
    assert not any((tmp_path / "outputs" / "store").glob("train/*")), "found out only after the training"


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


# A user's files


@pytest.fixture(scope="session")
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    flat = rng.normal(size=(60, 7)) + labels[:, None]
    return {
        "labels": labels,
        "flat": flat.astype(np.float32),
        "maps": rng.normal(size=(60, 4, 3, 3)).astype(np.float32) + labels[:, None, None, None].astype(np.float32),
        "tokens": rng.normal(size=(60, 5, 6)).astype(np.float64),
    }


def write(folder: Path, arrays: dict[str, np.ndarray], **names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{names.get(name, name)}.npy", array, allow_pickle=array.dtype.kind == "O")
    return folder


@pytest.fixture(scope="session")
def activations(arrays: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three layers whose prefixes order them against their names."""
    folder = tmp_path_factory.mktemp("activations with blank")
    return write(folder, arrays, flat="000_flat", tokens="001_tokens", maps="002_maps")


def own(folder: Path, *more: str) -> list[str]:
    return ["+experiment=from_activations", f"activations.path={folder}", *more]


def test_files_with_labels_give_what_sets_give(activations: Path, arrays: dict, outputs: Path) -> None:
    run = run_ok(*own(activations, "neighbors.k=5"), outputs=outputs)
    flat = {name: arrays[name].reshape(60, -1).astype(np.float64) for name in ("flat", "tokens", "maps")}
    rows = table(run, "layers")
    assert [(r["layer"], r["index"]) for r in rows] == [("flat", "0"), ("tokens", "1"), ("maps", "2")]
    for row in rows:
        x = flat[row["layer"]]
        assert (row["n_samples"], row["n_features"], row["k"]) == ("60", str(x.shape[1]), "5")
        assert float(row["id_twonn"]) == pytest.approx(twonn_of(x), rel=1e-6)
        assert float(row["nncs"]) == pytest.approx(nncs_of(x, arrays["labels"], 5), rel=1e-9)
    for row in table(run, "nnls"):
        assert float(row["nnls"]) == pytest.approx(nnls_of(flat[row["layer_a"]], flat[row["layer_b"]], 5), rel=1e-9)
    for row in table(run, "metrics"):
        if row["metric"] == "nncs":
            assert float(row["chance"]) == pytest.approx(19 / 59, rel=1e-9)


@pytest.mark.parametrize("pool", ["cls", "mean", "last"])
def test_pooling_of_tokens(pool: str, activations: Path, arrays: dict, outputs: Path) -> None:
    """cls is the first token, last the last, mean their mean; a layer without tokens is left alone."""
    run = run_ok(*own(activations, "neighbors.k=5", f"pooling={pool}"), outputs=outputs)
    tokens = arrays["tokens"]
    expected = {"cls": tokens[:, 0], "mean": tokens.mean(axis=1), "last": tokens[:, -1]}[pool]
    rows = {r["layer"]: r for r in table(run, "layers")}
    assert {r["pool"] for r in rows.values()} == {pool}
    assert float(rows["tokens"]["id_twonn"]) == pytest.approx(twonn_of(expected), rel=1e-5)
    assert rows["tokens"]["n_features"] == "6"
    assert float(rows["flat"]["id_twonn"]) == pytest.approx(twonn_of(arrays["flat"].astype(np.float64)), rel=1e-5)


def test_default_k_follows_from_the_labels(activations: Path, outputs: Path) -> None:
    """max(2, round(N / (10 C))) = round(60 / 30) = 2."""
    run = run_ok(*own(activations), outputs=outputs)
    assert {r["k"] for r in table(run, "layers")} == {"2"}


def test_files_without_labels_leave_nncs_out_and_need_k(arrays: dict, outputs: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "plain", {"a": arrays["flat"], "b": arrays["maps"]})
    run = run_ok(*own(folder, "neighbors.k=4"), outputs=outputs)
    rows = table(run, "layers")
    assert [r["layer"] for r in rows] == ["a", "b"]
    assert all(float(r["id_twonn"]) > 0 for r in rows)
    assert all(not r.get("nncs") for r in rows)
    assert all(not r["value"] for r in table(run, "metrics") if r["metric"] == "nncs")
    refused(own(folder), tmp_path / "outputs", "neighbors.k")


def test_a_sweep_finishes_all_jobs_and_exits_2_for_the_users_fault(activations: Path, tmp_path: Path) -> None:
    """Of 60 samples each has 59 neighbours, so k = 60 is refused; the job with k = 4 ends as if it were alone."""
    outputs = tmp_path / "outputs"
    done = rra("run", "-m", *own(activations, "neighbors.k=60,4"), outputs=outputs)
    text = done.stdout + done.stderr
    assert done.returncode == 2, text
    assert "Traceback" not in text
    written = [path for path in outputs.rglob("tables/layers.csv") if "store" not in path.relative_to(outputs).parts]
    assert len(written) == 1
    assert {row["k"] for row in table(written[0].parents[1], "layers")} == {"4"}


# Bad input


def refused(arguments: list[str], outputs: Path, *words: str, ran: bool = False, **extra: str) -> str:
    """Exit 2, no traceback, a message with the words, nothing half-written. ran: a run folder may say why."""
    done = rra("run", *arguments, outputs=outputs, **extra)
    text = done.stdout + done.stderr
    assert done.returncode == 2, f"exit {done.returncode}\n{text[-3000:]}"
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["+experiment=quickstrat"], ["quickstrat", "quickstart"]),
        (["experiment=quickstrat"], ["quickstrat", "quickstart"]),
        (["+experiment=quickstart", "model=resnet2O"], ["resnet2O", "resnet20"]),
        (["+experiment=quickstart", "metrics=rar"], ["rar", "rra"]),
        (["+experiment=quickstart", "dataset=mnits"], ["mnits", "mnist"]),
        (["+experiment=quickstart", "optimizer=adm"], ["adm", "adam"]),
        (["+experiment=quickstart", "neighbors.kk=5"], ["kk", r"\bk\b"]),
        (["+experiment=quickstart", "+method.epoch=5"], ["epoch", "epochs"]),
        (["+experiment=quickstart", "method.epochs=many"], ["epochs", "many", "int|number"]),
        (["+experiment=quickstart", "method.epochs=1.5"], ["epochs", r"1\.5"]),
        (["+experiment=quickstart", "neighbors.k=0"], [r"\bk\b", "0"]),
        (["+experiment=quickstart", "metrics.id_twonn.fit=mel"], ["mel", "mle"]),
        (["+experiment=quickstart", "dataset.n_samples=5000"], ["5000|5,000"]),
        (["+experiment=quickstart", "neighbors.k=1797", "method.epochs=1"], ["1797|1,797", r"\bk\b"]),
        (["+experiment=quickstart", "runtime.device=gpu"], ["gpu", "cuda|cpu"]),
        (["+experiment=quickstart", "method.epochs="], ["epochs"]),
        (["+experiment=quickstart", "method.epochs=[1"], ["epochs"]),
        ([], ["experiment"]),
    ],
    ids=lambda value: " ".join(value) if value and ("=" in str(value[0]) or not value) else "",
)
def test_config_faults(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    refused(arguments, tmp_path / "outputs", *words)


def test_several_faults_are_reported_together(tmp_path: Path) -> None:
    refused(
        ["+experiment=quickstart", "method.epochs=many", "neighbors.k=-3", "seed=abc"],
        tmp_path / "outputs", "many", "-3", "abc",
    )  # fmt: skip


def test_no_config_runs_code(tmp_path: Path) -> None:
    """By override and by an experiment file of the user's own; the control is that a harmless file of hers is read."""
    witness = tmp_path / "witness"
    refused(
        ["+experiment=quickstart", f"+hydra.callbacks.x={{_target_: os.mkdir, path: {witness}}}"],
        tmp_path / "outputs", "hydra.callbacks|_target_",
    )  # fmt: skip
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "evil.yaml").write_text(
        "# @package _global_\ndefaults:\n  - quickstart\n"
        f"hydra:\n  callbacks:\n    x:\n      _target_: pathlib.Path.mkdir\n      self: {witness}\n"
    )
    refused(["--config-dir", str(tmp_path / "conf"), "+experiment=evil"], tmp_path / "outputs", "callbacks|_target_")
    assert not witness.exists()


def test_cuda_that_is_absent(activations: Path, tmp_path: Path) -> None:
    refused(
        own(activations, "neighbors.k=4", "runtime.device=cuda"),
        tmp_path / "outputs", "cuda", ran=True, CUDA_VISIBLE_DEVICES="",
    )  # fmt: skip


def test_data_that_is_missing_says_which_files_and_where(tmp_path: Path) -> None:
    refused(
        ["+experiment=quickstart", "dataset=mnist", "model=lenet5", f"dataset.root={tmp_path}/none",
         "dataset.download=false"],
        tmp_path / "outputs", "idx3-ubyte", "none/MNIST/raw|none", ran=True,
    )  # fmt: skip


def test_folder_of_activations_that_is_not_there(tmp_path: Path) -> None:
    refused(own(tmp_path / "nothing", "neighbors.k=4"), tmp_path / "outputs", "nothing", ran=True)
    (tmp_path / "empty").mkdir()
    refused(own(tmp_path / "empty", "neighbors.k=4"), tmp_path / "outputs", "empty", r"\.npy", ran=True)
    refused(["+experiment=from_activations", "neighbors.k=4"], tmp_path / "outputs", r"activations\.path", ran=True)


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.path),))


def bad_folders(
    arrays: dict[str, np.ndarray], root: Path
) -> dict[str, tuple[dict[str, np.ndarray], list[str], list[str]]]:
    """Name of the case: the arrays, the words of the message, the overrides."""
    good, labels, k = arrays["flat"], arrays["labels"], ["neighbors.k=4"]
    nan, infinite = good.copy(), good.copy()
    nan[[3, 3, 9], [0, 1, 2]] = np.nan
    infinite[5, 2] = np.inf
    bomb = np.array([Bomb(root / "exploded")], dtype=object)
    copies = np.tile(good[:1], (60, 1))
    return {
        "NaN": ({"a": good, "worse": nan}, ["worse", r"\b[23]\b", "nan|finite"], k),
        "infinity": ({"a": good, "worse": infinite}, ["worse", r"\b1\b", "inf|finite"], k),
        "rows differ": ({"a": good, "shorter": good[:59]}, ["shorter|a", "60", "59"], k),
        "labels differ": ({"a": good, "labels": labels[:50]}, ["labels", "60", "50"], k),
        "k too large": ({"a": good}, ["60", r"\bk\b"], ["neighbors.k=60"]),
        "object": ({"a": good, "bomb": bomb}, ["bomb", "object|pickle"], k),
        "string": ({"a": good, "words": np.array([["x"] * 7] * 60)}, ["words", "string|text|<U|str"], k),
        "string labels": ({"a": good, "labels": np.array(["x"] * 60)}, ["labels", "string|text|<U|str|integer"], k),
        "empty": ({"a": good[:0]}, [r"\ba\b", "0|empty"], k),
        "one class": ({"a": good, "labels": labels * 0}, ["class"], k),
        "constant": (
            {"a": good, "flatline": np.ones((60, 5), np.float32)},
            ["flatline", "constant|identical|equal"],
            k,
        ),
        "all duplicates": ({"a": good, "copies": copies}, ["copies", "constant|identical|duplicate|equal"], k),
        "complex": ({"a": good.astype(complex)}, [r"\ba\b", "complex"], k),
        "one row": ({"a": good[:1]}, [r"\b1\b"], ["neighbors.k=1"]),
        "two dimensions too many": ({"a": good[:, :, None, None, None]}, [r"\ba\b", r"\(60, 7, 1, 1, 1\)|5"], k),
    }


CASES = [
    "NaN", "infinity", "rows differ", "labels differ", "k too large", "object", "string", "string labels", "empty",
    "one class", "constant", "all duplicates", "complex", "one row", "two dimensions too many",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_files(case: str, arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    content, words, overrides = bad_folders(arrays, tmp_path)[case]
    folder = write(tmp_path / "files", content)
    refused(own(folder, *overrides), tmp_path / "outputs", *words, ran=True)
    assert not (tmp_path / "exploded").exists(), "a pickle was opened"


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"this is no array at all" * 100], ids=["empty", "cut", "text"])
def test_unreadable_files(content: bytes, arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    folder = write(tmp_path / "files", {"a": arrays["flat"]})
    (folder / "broken.npy").write_bytes(content)
    refused(own(folder, "neighbors.k=4"), tmp_path / "outputs", "broken", ran=True)


def test_truncated_file(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    folder = write(tmp_path / "files", {"a": arrays["flat"], "torn": arrays["maps"]})
    torn = folder / "torn.npy"
    torn.write_bytes(torn.read_bytes()[:-100])
    refused(own(folder, "neighbors.k=4"), tmp_path / "outputs", "torn", ran=True)


def test_run_folder_that_cannot_be_written(activations: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    arguments = own(activations, "neighbors.k=4", f"hydra.run.dir={tmp_path}/file/run")
    refused(arguments, tmp_path / "outputs", "file/run|file", ran=True)
    (tmp_path / "taken").write_text("")
    refused(own(activations, "neighbors.k=4"), tmp_path / "taken" / "outputs", "taken", ran=True)


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
