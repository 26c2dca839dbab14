"""Binding: a plain configuration becomes typed objects, and every fault of it is told in one message."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from rra_cli.config import bind
from rra_cli.config.bind import NO_EXPERIMENT
from rra_cli.errors import ConfigError


def good() -> dict[str, Any]:
    """The least that binds."""
    return {
        "seed": 3,
        "dataset": {"name": "digits"},
        "model": {"name": "mlp"},
        "method": {"name": "supervised"},
        "augment": {"name": "none"},
        "optimizer": {"name": "sgd"},
        "pooling": {"none": {}},
        "neighbors": {"name": "exact"},
        "metrics": {"id_twonn": {"name": "twonn", "fit": "linear"}, "per_sample": True},
        "activations": {},
        "runtime": {},
        "store": {},
    }


def changed(**parts: Any) -> dict[str, Any]:
    """The good configuration with keys of its groups added or replaced: `changed(method={"epochs": 2})`."""
    config = good()
    for group, values in parts.items():
        config[group] = {**config[group], **values} if isinstance(values, dict) else values
    return config


def faults(config: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        bind(config)
    assert caught.value.hint is not None
    return list(caught.value.faults)


def test_a_good_configuration_binds_to_typed_frozen_objects() -> None:
    experiment = bind(good(), "mine")
    assert experiment.name == "mine"
    assert bind(good()).name == NO_EXPERIMENT
    assert experiment.seed == 3
    assert type(experiment.model).__name__ == "MLP"
    assert experiment.metrics.metrics["id_twonn"].fit == "linear"  # type: ignore[attr-defined]
    assert experiment.metrics.per_sample
    assert not experiment.metrics.per_class
    assert [pooling.pool for pooling in experiment.pooling.values()] == ["none"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiment.seed = 4  # type: ignore[misc]
    with pytest.raises(TypeError):
        experiment.pooling["cls"] = experiment.pooling["none"]  # type: ignore[index]


def test_other_data_sets_bind_by_their_names() -> None:
    experiment = bind({**good(), "transfer": {"small": {"name": "digits", "n_samples": 50}}, "transfer_layers": ["h*"]})
    assert experiment.transfer["small"].n_samples == 50
    assert experiment.transfer_layers == ("h*",)
    assert not bind(good()).transfer
    assert bind(good()).transfer_layers == ()
    assert not bind({**good(), "transfer": None, "transfer_layers": None}).transfer


def test_faults_of_other_data_sets_name_the_place() -> None:
    (fault,) = faults({**good(), "transfer": {"x": {"name": "digitz"}}})
    assert fault.startswith("transfer.x.name: there is no dataset named 'digitz': did you mean 'digits'")
    (fault,) = faults({**good(), "transfer": {"x": {"name": "digits", "n": 3}}})
    assert fault.startswith("transfer.x.n: unknown key; ")


def test_compared_engines_bind_by_their_names() -> None:
    experiment = bind({**good(), "compare": {"engines": {"wide": {"name": "pynndescent", "n_neighbors": 9}}}})
    assert experiment.compare.engines["wide"].n_neighbors == 9  # type: ignore[attr-defined]
    assert experiment.compare.layers == ()
    assert not bind(good()).compare.engines
    assert not bind({**good(), "compare": {"engines": None, "layers": None}}).compare.engines


def test_lists_become_tuples_and_whole_numbers_serve_as_numbers() -> None:
    experiment = bind(changed(method={"milestones": [0, 5]}, optimizer={"lr": 1}))
    assert experiment.method.milestones == (0, 5)
    assert experiment.optimizer.lr == 1.0


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (changed(method={"epochs": "ten"}), "method.epochs: expected an integer, got 'ten'"),
        (changed(method={"epochs": 1.5}), "method.epochs: expected an integer, got 1.5"),
        (changed(method={"epochs": True}), "method.epochs: expected an integer, got true"),
        (changed(dataset={"n_sampels": 5}), "dataset.n_sampels: unknown key; did you mean 'n_samples'?"),
        (changed(modle=3), "modle: unknown key; did you mean 'model'?"),
        (changed(model={"name": "mpl"}), "model.name: there is no model named 'mpl': did you mean 'mlp'?"),
        (changed(model={"name": None}), "model.name: expected the name of a model, got None"),
        (changed(model=None), "model: nothing is chosen; `rra ls model` lists what there is"),
        (changed(model=[1]), "model: expected a mapping with a name, got [1]"),
        (
            changed(method={"precision": "bf15"}),
            "method.precision: expected one of float32, bf16, got 'bf15'; did you mean 'bf16'?",
        ),
        (
            changed(neighbors={"preprocess": "cosine"}),
            "neighbors.preprocess: expected one of none, centre, zscore, l2, whitening, got 'cosine'; "
            "did you mean 'l2' (cosine distance is Euclidean distance after it)?",
        ),
        (changed(neighbors={"k": "many"}), "neighbors.k: expected an integer or null, got 'many'"),
        (changed(seed=True), "seed: expected an integer, got True"),
        (changed(seed=-1), "seed: expected an integer from 0 to 2^63 - 1, got -1"),
        (changed(runtime={"device": "gpu"}), "runtime.device is 'gpu'; expected auto, cpu, cuda or cuda:<number>"),
        (changed(runtime={"threads": 0}), "runtime.threads is 0; at least 1 is needed (null takes all)"),
        (
            changed(runtime={"threads": 10**6}),
            "runtime.threads is 1000000; at most 1024 are supported (null takes all)",
        ),
        (
            changed(runtime={"memory": "4XB"}),
            "runtime.memory cannot be read: '4XB' is not a size; write it like 4GB, 512MiB or 1000000 (bytes)",
        ),
        (changed(activations={"batch_size": 0}), "activations.batch_size is 0; at least 1 is needed"),
        (changed(activations={"dtype": "???"}), "activations.dtype: a value is needed, none was given"),
        (changed(store=3), "store: expected a mapping, got 3"),
        (
            changed(pooling={"xyz": {}}),
            "pooling: there is no 'xyz'; known: avg2, avg4, avg8, avg_global, cls, last, "
            "max2, max4, max8, max_global, mean, none",
        ),
        (
            changed(pooling=[]),
            "pooling: expected at least one of none, avg2, avg4, avg8, avg_global, max2, max4, max8, max_global, cls, "
            "mean, last, got []",
        ),
        (
            changed(pooling={"avg4": {}, "mine": {"pool": "avg", "scale": 4}}),
            "pooling.mine: the same as pooling.avg4; leave one of them out",
        ),
        (
            changed(pooling={"avg3": {"pool": "avg", "scale": 3}}),
            "pooling.avg3: pooling 'avg' has scale 3; expected the side of its windows, a power of two from 2 on, or 0 "
            "for the whole map",
        ),
        (changed(metrics={"per_class": 1}), "metrics.per_class: expected true or false, got 1"),
        (
            changed(metrics={"per_sampel": True}),
            "metrics.per_sampel: expected a metric's settings ({name: ...}), got true; did you mean 'per_sample'?",
        ),
        (changed(metrics={"a b": {"name": "nncs"}}), "metrics.a b: a column is named by letters, digits and _"),
        ({**good(), "transfer": 3}, "transfer: expected a mapping of names to data sets, got 3"),
        (
            {**good(), "transfer": {"a b": {"name": "digits"}}},
            "transfer.a b: a data set is named by letters, digits and _",
        ),
        ({**good(), "transfer": {"x": 3}}, "transfer.x: expected a mapping with a name, got 3"),
        ({**good(), "transfer_layers": "gap"}, "transfer_layers: expected a list of names or globs, got 'gap'"),
        ({**good(), "compare": 3}, "compare: expected a mapping with engines and layers, got 3"),
        ({**good(), "compare": {"engine": {}}}, "compare.engine: unknown key; did you mean 'engines'?"),
        ({**good(), "compare": {"engines": 3}}, "compare.engines: expected a mapping of names to engines, got 3"),
        ({**good(), "compare": {"layers": "a"}}, "compare.layers: expected a list of names or globs, got 'a'"),
        (
            {**good(), "compare": {"engines": {"a b": {"name": "exact"}}}},
            "compare.engines.a b: an engine is named by letters, digits and _",
        ),
        (
            {**good(), "compare": {"engines": {"warm": {"name": "pynndescent", "warm_strat": True}}}},
            "compare.engines.warm.warm_strat: unknown key; did you mean 'warm_start'?",
        ),
        ({**good(), "metrics": {}}, "metrics: none is chosen; `rra ls metrics` lists what there is"),
        ({**good(), "metrics": None}, "metrics: expected a mapping of columns to metrics, got None"),
    ],
)
def test_each_fault_says_where_what_was_expected_and_what_was_found(config: dict[str, Any], expected: str) -> None:
    assert expected in faults(config)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"checkpoints": []}, "names none"),
        ({"checkpoints": ["epoch_10"]}, "four digits"),
        ({"checkpoints": ["frist"]}, "'frist'"),
    ],
)
def test_checkpoints_are_named_as_in_the_tables(values: dict[str, Any], words: str) -> None:
    assert any(words in fault for fault in faults(changed(activations=values)))


def test_a_mapping_of_samples_by_split_is_checked_in_its_parts() -> None:
    assert bind(changed(dataset={"n_samples": {"train": 100, "test": None}})).dataset.n_samples == {
        "train": 100,
        "test": None,
    }
    (fault,) = faults(changed(dataset={"n_samples": {"tset": 100}}))
    assert fault.startswith("dataset.n_samples: expected an integer, a mapping")


def test_faults_of_all_parts_are_told_together() -> None:
    found = faults(
        changed(
            modle=1,
            seed="x",
            method={"epochs": "ten"},
            dataset={"n_sampels": 1, "balanced": "yes"},
            runtime={"progress": "loud"},
            metrics={"id_twonn": {"name": "twon"}},
        )
    )
    for start in ("modle:", "seed:", "method.epochs:", "dataset.n_sampels:", "dataset.balanced:", "metrics.id_twonn"):
        assert sum(fault.startswith(start) for fault in found) == 1, start
    assert any(fault.startswith("runtime.progress: expected one of auto, bars") for fault in found)


def test_a_home_folder_is_expanded_in_locations_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    experiment = bind(changed(store={"root": "~/store"}, activations={"layers": ["~x"]}))
    assert experiment.store.root == "/home/somebody/store"
    assert experiment.activations.layers == ("~x",)


def test_a_composed_configuration_is_resolved_and_a_broken_reference_is_named() -> None:
    from omegaconf import OmegaConf

    config = OmegaConf.create({**changed(dataset={"subset_seed": "${seed}"}), "hydra": {"run": {"dir": "${missing}"}}})
    assert bind(config).dataset.subset_seed == 3
    config.dataset.subset_seed = "${sede}"
    (fault,) = faults(config)
    assert fault.startswith("dataset.subset_seed: ")
    assert "sede" in fault


@pytest.mark.parametrize(
    ("size", "n_bytes"), [("4GB", 4 * 10**9), ("512 MiB", 512 * 2**20), (1000, 1000), (None, None)]
)
def test_memory_is_a_size(size: Any, n_bytes: int | None) -> None:
    assert bind(changed(runtime={"memory": size})).runtime.memory_bytes == n_bytes


def test_memory_that_is_no_size_is_refused() -> None:
    assert any("4 apples" in fault for fault in faults(changed(runtime={"memory": "4 apples"})))


def test_outputs_and_store_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("RRA_OUTPUTS", str(tmp_path / "out"))
    assert bind(good()).store_root == tmp_path / "out" / "store"
    monkeypatch.delenv("RRA_OUTPUTS")
    monkeypatch.chdir(tmp_path)
    assert bind(good()).store_root == tmp_path / "outputs" / "store"
    assert bind(changed(store={"root": "/elsewhere"})).store_root.as_posix() == "/elsewhere"
