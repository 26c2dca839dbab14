"""Probes, milestones and another data set together: two epochs on the digits, and what the run folder says of them."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rra_cli import pipeline
from rra_cli.cli.summary import read_errors, summary_tables
from rra_cli.config.compose import load
from rra_cli.core.progress import Progress, silent
from rra_cli.report.tables.schema import metric_columns

pytestmark = pytest.mark.long

OVERRIDES = [
    "dataset=digits",
    "dataset.n_samples={train: 400, test: 200}",
    "model=mlp",
    "model.width=32",
    "model.depth=1",
    "method.epochs=2",
    "method.batch_size=64",
    "method.milestones=1",
    "optimizer=adam",
    "metrics=[rra,probes]",
    "metrics.knn_probe.k=20",
    "metrics.linear_probe.batch_size=64",
    "activations.keep=until_measured",
    "transfer={again: {name: digits, n_samples: 150, subset_seed: 5}}",
    "runtime.device=cpu",
]
PROBES = ("linear_probe", "logistic_probe", "knn_probe", "one_nn_probe")
EPOCHS = ("0", "1", "2")


class Quiet:
    """A reporter that remembers the titles of what was done."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        self.titles.append(title)
        yield silent

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("probes")


@pytest.fixture(scope="module")
def ran(folder: Path) -> Path:
    """A finished run, with its plots."""
    experiment = load([*OVERRIDES, f"store.root={folder / 'store'}"])
    config = {"metrics": {name: {"name": name} for name in PROBES}}
    pipeline.run(experiment, folder / "run", Quiet(), config=config)
    return folder / "run"


def rows(ran: Path, name: str) -> list[dict[str, str]]:
    with (ran / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_layer_and_epoch_has_every_probe_in_rows_of_test(ran: Path) -> None:
    found = [row for row in rows(ran, "metrics") if row["metric"] in PROBES and not row["dataset"]]
    layers = {row["layer"] for row in rows(ran, "layers")}
    assert {row["split"] for row in found} == {"test"}
    assert {(row["metric"], row["epoch"], row["layer"]) for row in found} == {
        (metric, epoch, layer) for metric in PROBES for epoch in EPOCHS for layer in layers
    }
    for row in found:
        value = float(row["value"])
        assert (row["n_used"], row["reason"]) == ("200", "")
        assert float(row["std_error"]) == pytest.approx(math.sqrt(value * (1 - value) / 200))
        assert float(row["chance"]) < 0.2 < (0.6 if row["metric"] == "logistic_probe" else 0.25) < value


def test_layer_0_has_one_value_at_all_epochs(ran: Path) -> None:
    for metric in PROBES:
        values = {
            row["value"]
            for row in rows(ran, "metrics")
            if (row["metric"], row["layer"], row["dataset"]) == (metric, "input", "")
        }
        assert len(values) == 1
    others = {row["value"] for row in rows(ran, "metrics") if (row["metric"], row["layer"]) == ("knn_probe", "logits")}
    assert len(others) > 1, "the control: what is trained changes"


def test_columns_of_layers(ran: Path) -> None:
    found = rows(ran, "layers")
    columns = tuple(found[0])
    assert columns[-1] == "dataset"
    assert metric_columns(columns) == ("id_twonn", "nncs", *PROBES)
    for row in found:
        own_test = row["split"] == "test" and not row["dataset"]
        assert bool(row["linear_probe"]) == (own_test or bool(row["dataset"]))
        assert bool(row["id_twonn"]) == (not row["dataset"])


def test_another_data_set_is_probed_at_the_representation_of_every_checkpoint(ran: Path) -> None:
    found = [row for row in rows(ran, "metrics") if row["dataset"] == "again"]
    assert {(row["metric"], row["epoch"]) for row in found} == {(m, e) for m in PROBES for e in EPOCHS}
    assert len({row["layer"] for row in found}) == 1
    assert len(found) == len(PROBES) * len(EPOCHS)
    assert {row["n_samples"] for row in found} == {"150"}


def test_the_similarity_to_the_last_checkpoint_grows(ran: Path) -> None:
    across = [row for row in rows(ran, "nnls") if row["checkpoint_a"] != row["checkpoint_b"]]
    assert {(row["checkpoint_a"], row["checkpoint_b"]) for row in across} == {
        ("epoch_0000", "last"),
        ("epoch_0001", "last"),
        ("epoch_0000", "epoch_0001"),
    }
    to_last = [row for row in across if row["checkpoint_b"] == "last"]
    means = {
        checkpoint: sum(float(row["nnls"]) for row in to_last if row["checkpoint_a"] == checkpoint)
        for checkpoint in ("epoch_0000", "epoch_0001")
    }
    assert means["epoch_0000"] < means["epoch_0001"]


def test_plots_over_epochs_are_there(ran: Path) -> None:
    found = {path.stem for path in (ran / "plots").glob("*.svg")}
    assert {f"{metric}_milestones" for metric in ("id_twonn", "nncs", *PROBES)} <= found
    assert {f"{metric}_curve" for metric in PROBES} <= found
    assert {"nnls_to_last", "nnls_to_next", "transfer"} <= found
    html = (ran / "report.html").read_text()
    for text in ("1-NN probe accuracy", "Other data sets", "van der Merwe (2022)"):
        assert text in html


def test_the_summary_has_a_column_for_the_other_data_set(ran: Path) -> None:
    from rra_cli.cli.summary import _apart

    found = [_apart(row) for row in rows(ran, "layers")]
    shown = summary_tables(found, read_errors(ran / "tables" / "metrics.csv"))
    headers = [str(column.header) for table in shown for column in table.columns]
    assert "one_nn_probe\ntest" in headers
    assert "one_nn_probe\nagain" in headers
    assert not any("again" in str(table.title) for table in shown)


def test_the_second_time_nothing_is_done_and_everything_is_equal(folder: Path, ran: Path) -> None:
    experiment = load([*OVERRIDES, f"store.root={folder / 'store'}"])
    assert {row.state for row in pipeline.plan(experiment).rows} <= {"cached", "not needed"}
    watcher = Quiet()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "render", lambda *args, **keywords: [])
        pipeline.run(experiment, folder / "again", watcher, config={})
    assert watcher.titles == ["report"]
    for table in (ran / "tables").glob("*.csv"):
        assert (folder / "again" / "tables" / table.name).read_bytes() == table.read_bytes()


def test_probes_are_the_same_to_the_last_bit_when_they_are_made_again(folder: Path, ran: Path) -> None:
    experiment = load([*OVERRIDES, f"store.root={folder / 'other_store'}"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "render", lambda *args, **keywords: [])
        pipeline.run(experiment, folder / "other", Quiet(), config={})
    for name in ("layers", "metrics", "nnls"):
        made = (folder / "other" / "tables" / f"{name}.csv").read_bytes()
        assert made == (ran / "tables" / f"{name}.csv").read_bytes()
