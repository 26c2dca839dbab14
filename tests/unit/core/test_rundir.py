"""A run folder belongs to one configuration for ever; what is written in it."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from run_states import CONFIG, status

from rra_cli.core import files
from rra_cli.core.rundir import RunDir
from rra_cli.core.runfiles import read_config
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.errors import UserError


def test_a_run_writes_its_configuration_and_state(tmp_path: Path) -> None:
    path = tmp_path / "outputs" / "2026-11-20" / "14-05-09-123456_quickstart"
    with RunDir.enter(path, CONFIG) as run:
        assert read_config(path) == CONFIG
        assert list(read_config(path)) == list(CONFIG)
        assert status(path)["state"] == "running"
        run.status("running", "train", message="epoch 3")
        assert status(path)["stage"] == "train"
        assert status(path)["message"] == "epoch 3"
        assert status(path)["pid"] == os.getpid()
        assert run.tables.is_dir()
        assert run.plots == path / "plots"
        run.status("done")
    assert status(path)["state"] == "done"
    assert status(path)["stage"] == "train"
    assert {child.name for child in path.iterdir()} == {"config.yaml", "status.json", "tables", "plots"}


def test_the_folder_that_hydra_made_may_be_entered(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text("seed: 0")
    with RunDir.enter(tmp_path, CONFIG):
        pass
    assert (tmp_path / ".hydra" / "config.yaml").read_text() == "seed: 0"


def test_an_equal_configuration_may_enter_again(tmp_path: Path) -> None:
    with RunDir.enter(tmp_path, CONFIG):
        pass
    written = (tmp_path / "config.yaml").stat().st_mtime_ns
    again = json.loads(json.dumps(dict(reversed(CONFIG.items()))))
    again["method"]["milestones"] = tuple(again["method"]["milestones"])
    with RunDir.enter(tmp_path, again):
        pass
    assert (tmp_path / "config.yaml").stat().st_mtime_ns == written


def test_another_configuration_may_not_and_the_difference_is_shown(tmp_path: Path) -> None:
    with RunDir.enter(tmp_path, CONFIG) as run:
        run.status("done")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = {**CONFIG, "seed": 1, "method": {**CONFIG["method"], "epochs": 4}}
    with pytest.raises(UserError, match="another configuration") as caught:
        RunDir.enter(tmp_path, other)
    assert "seed: stored 0, asked for 1" in caught.value.message
    assert "method.epochs: stored 3, asked for 4" in caught.value.message
    assert "\n" not in caught.value.message, "tables show one line"
    assert "hydra.run.dir" in str(caught.value.hint)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with RunDir.enter(tmp_path, CONFIG):
        pass  # the refusal left no lease behind


@pytest.mark.parametrize("before", [{"threads": 1}, None])
def test_how_the_work_is_done_may_change(before: dict[str, Any] | None, tmp_path: Path) -> None:
    """Also where an earlier version had no such setting; but nothing else along with it."""
    earlier = CONFIG if before is None else {**CONFIG, "runtime": before}
    now = {**CONFIG, "runtime": {"threads": 2, "report": False}}
    with RunDir.enter(tmp_path, earlier):
        pass
    with pytest.raises(UserError, match="another configuration: seed: stored 0, asked for 1") as caught:
        RunDir.enter(tmp_path, {**now, "seed": 1})
    assert "runtime" not in caught.value.message
    assert read_config(tmp_path) == earlier
    with RunDir.enter(tmp_path, now):
        pass
    assert read_config(tmp_path) == now


def test_in_a_sweep_the_hint_is_about_the_sweeps_folder(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text("{}")
    with RunDir.enter(tmp_path / "seed=0", CONFIG):
        pass
    many = {**CONFIG, **{f"key{number}": 0 for number in range(5)}}
    with pytest.raises(UserError, match=r"key2: not stored, asked for 0; and 2 more\n") as caught:
        RunDir.enter(tmp_path / "seed=0", many)
    assert "hydra.sweep.dir" in str(caught.value.hint)
    assert "hydra.run.dir" not in str(caught.value.hint)


def test_the_manifest_lists_keys_and_relative_paths(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    specs = [Spec("train", 1, {"n": number}) for number in range(2)]
    artifacts = []
    for spec in specs:
        with store.claim(spec) as work:
            files.write_bytes(work.path / "out" / "a", b"x")
            artifacts.append(work.publish("out", entry="best"))
    with RunDir.enter(tmp_path / "2026-11-20" / "run", CONFIG) as run:
        run.write_manifest(store, [*artifacts, artifacts[0]])
    manifest = json.loads((run.path / "manifest.json").read_text())
    assert manifest["store"] == "../../store"
    assert {row["key"] for row in manifest["artifacts"]} == {spec.key for spec in specs}
    assert len(manifest["artifacts"]) == 2
    for row in manifest["artifacts"]:
        assert set(row) == {"stage", "key", "entry", "path"}
        assert (run.path / manifest["store"] / row["path"] / "a").read_bytes() == b"x"
    assert str(tmp_path) not in json.dumps(manifest)


def test_the_log_is_appended_to(tmp_path: Path) -> None:
    logger = logging.getLogger("rra_cli.core.test")
    level = logging.getLogger("rra_cli").level
    for text in ("first", "second ä"):
        with RunDir.enter(tmp_path, CONFIG) as run, run.logging():
            logger.info(text)
        logger.info("outside")
    lines = (tmp_path / "run.log").read_text(encoding="utf-8").splitlines()
    assert [line.rsplit(": ", 1)[1] for line in lines] == ["first", "second ä"]
    assert logging.getLogger("rra_cli").level == level


def test_ids_are_file_names_and_tell_folders_apart(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    ids = set()
    for name in ("a/2026-11-20/run", "b/2026-11-20/run", "ä (x)/=", ".hidden/..."):
        with RunDir.enter(tmp_path / name, CONFIG) as run:
            store.refer(run.id, run.path, [])
            ids.add(run.id)
    assert len(ids) == 4 == len(store.references())
    assert any(name.startswith("2026-11-20_run-") for name in ids)
