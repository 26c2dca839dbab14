"""Readers of what lies in a run's or a sweep's folder."""

from __future__ import annotations

import io
import os
from contextlib import suppress

import pandas as pd
from holding import holding
from rich.console import Console
from seeds import DEFAULTS, SEEDS

from rra_cli.cli.again import _keep_places, data_changes
from rra_cli.cli.status_table import command_of, details, runs_table, summary, sweep_table
from rra_cli.comparison.find import find_runs, unfinished
from rra_cli.comparison.graphs import GraphReader
from rra_cli.comparison.runs import FinishedRun, _choices, _manifest
from rra_cli.config.bind import bind
from rra_cli.console import printable
from rra_cli.core.provenance import changes_since
from rra_cli.core.runfiles import read_config, read_provenance
from rra_cli.core.runstate import RunState, Watcher
from rra_cli.core.sweepdir import read as read_sweep
from rra_cli.errors import UserError
from rra_cli.report.load import _read_search_times, read_training
from rra_cli.report.rendering import _read_record
from rra_cli.report.tables.reading import read_table


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
        assert not states[0].active
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


def a_table(content: bytes) -> None:
    with holding("metrics.csv", content) as folder, suppress(UserError):
        read_table(folder, "metrics")


def a_training_curve(content: bytes) -> None:
    with holding("training.jsonl", content) as folder, suppress(UserError):
        read_training(folder / "training.jsonl")


def search_times(content: bytes) -> None:
    with holding("search_times.csv", content) as folder, suppress(UserError):
        _read_search_times(folder / "search_times.csv")


def what_was_drawn(content: bytes) -> None:
    with holding("index.json", content) as folder:
        record = _read_record(folder / "index.json")
        assert record is None or all(isinstance(name, str) for name in record["files"])
