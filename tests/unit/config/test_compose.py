"""Composition: experiments and options fit together, a user's folder adds to ours, and faults are told together."""

from __future__ import annotations

from pathlib import Path

import pytest

from rra_cli.config import catalog
from rra_cli.config.compose import check_folders, composed, examine, key_faults, load
from rra_cli.config.overrides import check
from rra_cli.errors import ConfigError, UserError


def faults(*overrides: str, sweep: bool = False, config_dirs: tuple[Path, ...] = ()) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        examine(check(overrides, catalog.options(config_dirs), sweep=sweep), config_dirs)
    return caught.value.faults


def test_an_experiment_changes_the_defaults_and_overrides_change_the_experiment() -> None:
    default, quick = load(), load(["experiment=quickstart"])
    assert (default.name, quick.name) == ("custom", "quickstart")
    changed = load(["experiment=quickstart", "model=mlp", "neighbors.k=7", "method.epochs=2", "seed=5"])
    assert type(changed.model).__name__ == "MLP"
    assert (changed.neighbors.k, changed.method.epochs, changed.seed) == (7, 2, 5)
    assert type(quick.model).__name__ != "MLP"


def test_poolings_are_listed_together() -> None:
    assert list(load(["pooling=[none,mean]"]).pooling) == ["none", "mean"]
    assert list(load(["pooling=cls"]).pooling) == ["cls"]


def test_a_metric_may_be_added_and_removed() -> None:
    experiment = load(["metrics.linear={name: twonn, fit: linear}", "~metrics.nnls"])
    assert list(experiment.metrics.metrics) == ["id_twonn", "nncs", "linear"]


def test_faults_of_overrides_and_of_the_binding_come_in_one_message() -> None:
    found = faults("experiment=quickstart", "model=resnt20", "modle=3", "seed=ten", "dataset.n_sampels=4", "x={")
    assert [fault.partition(":")[0] for fault in found] == ["model", "modle", "x={", "seed", "dataset.n_sampels"]


def test_settings_of_a_training_are_refused_where_nothing_is_trained() -> None:
    """And taken where something is: the control."""
    training = ("seed=3", "method=supervised", "optimizer.lr=0.1")
    found = faults("experiment=from_activations", "neighbors.k=4", *training)
    assert [fault.partition(":")[0] for fault in found] == ["seed", "method", "optimizer.lr"]
    assert found[1].endswith(
        "dataset=activations brings its own layers, so nothing is trained and this has no effect; leave it out"
    )
    assert load(["dataset=digits", *training]).seed == 3
    assert faults("dataset=activations", "seed=1,2", sweep=True)[0].startswith("seed: ")


def test_with_an_unknown_experiment_the_rest_is_not_judged() -> None:
    assert len(faults("experiment=quickstat", "seed=ten")) == 1


def test_hydras_own_complaints_are_one_line() -> None:
    (fault,) = faults("~metrics.nosuch")
    assert "nosuch" in fault
    assert "\n" not in fault


def test_in_a_sweep_only_common_faults_stop_everything() -> None:
    options = catalog.options()
    assert examine(check(["seed=x,1"], options, sweep=True), ()) is None
    assert examine(check(["seed=1,x"], options, sweep=True), ()) is not None
    assert examine(check(["method.epochs=0,5"], options, sweep=True), ()) is None
    assert faults("seed=x,1", "method.epochs=ten", sweep=True) == ("method.epochs: expected an integer, got 'ten'",)


def test_keys_are_checked_without_importing_components() -> None:
    config, _ = composed(["++model.dept=3", "++modle=1", "++method.name=supervisd"], ())
    assert key_faults(config) == [
        "modle: unknown key; did you mean 'model'?",
        "model.dept: unknown key; did you mean 'depth'?",
        "method.name: there is no method named 'supervisd': did you mean 'supervised' or 'triplet_supervised'?",
    ]
    assert key_faults(composed([], ())[0]) == []


def test_a_folder_of_the_user_adds_options(tmp_path: Path) -> None:
    folder = tmp_path / "my (conf), ä"
    (folder / "experiment").mkdir(parents=True)
    (folder / "model").mkdir()
    (folder / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - quickstart\n  - override /model: wide\nseed: 9\n"
    )
    (folder / "model" / "wide.yaml").write_text("name: mlp\nwidth: 1024\n")
    experiment = load(["experiment=mine"], [folder])
    assert (experiment.name, experiment.seed, experiment.model.width) == ("mine", 9, 1024)  # type: ignore[attr-defined]


def test_a_file_that_ours_would_hide_is_named(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mlp.yaml").write_text("name: mlp\n")
    with pytest.raises(ConfigError, match="has the name of one of ours"):
        check_folders([tmp_path])


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder"):
        check_folders([tmp_path / "none"])


def test_a_launcher_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(ConfigError) as caught:
        load(["hydra/launcher=slrum"])
    (fault,) = caught.value.faults
    assert fault.startswith("hydra/launcher: there is no 'slrum'; there are slurm, ")
    assert "joblib" in fault
