"""Keys of the studies: what decides a value decides its key, or a run would take up what another measured otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_sample_study import STUDY, list_specs
from test_sample_study import experiment as studied
from test_uncertainty_in_a_run import BOTH, METRICS, K
from test_uncertainty_in_a_run import experiment as measured

from rra_cli.config.experiment import ActivationsConfig, MetricSet
from rra_cli.config.samples import SampleStudyConfig
from rra_cli.config.uncertainty import UncertaintyConfig
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.metrics.metric import Metric
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.uncertainty.study import uncertainty_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two layers of 200 samples in three classes."""
    made = tmp_path / "layers"
    made.mkdir()
    for name, width in (("00_a", 8), ("01_b", 3)):
        np.save(made / f"{name}.npy", np.random.default_rng(width).normal(size=(200, width)).astype(np.float32))
    np.save(made / "labels.npy", np.arange(200) % 3)
    return made


def test_what_decides_a_value_of_a_sample_study_decides_its_key(tmp_path: Path, folder: Path) -> None:
    chosen = studied(tmp_path, dataset=ActivationFiles(), activations=ActivationsConfig(path=str(folder)))

    def keys(**changes: Any) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for stage in lay_out(replace(chosen, **changes)).stages:
            if stage.name.startswith("sample_"):
                found.setdefault(stage.name, []).append(stage.specs[0].key)
        return found

    before, metrics = keys(), chosen.metrics.metrics

    def other(**changes: Any) -> set[str]:
        now = keys(**changes)
        return {name.removeprefix("sample_") for name in before if not set(now[name]) & set(before[name])}

    everything = {"lists", "dimension", "purity", "similarity"}
    assert {name.removeprefix("sample_") for name in before} == everything
    assert other() == set()
    assert other(dataset=ActivationFiles(subset_seed=1)) == everything, "the same samples in another order"
    assert other(neighbors=replace(chosen.neighbors, preprocess="zscore")) == everything
    assert other(samples=replace(STUDY, fixed_ndr=(0.2,))) == {"purity", "similarity"}, "further k of the same lists"
    assert other(metrics=MetricSet({**metrics, "nncs": NNCS(class_balanced=True)})) == {"purity"}
    assert other(metrics=MetricSet({**metrics, "id_twonn": TwoNN(fit="linear")})) == {"dimension"}
    np.save(folder / "labels.npy", np.arange(200) % 4)
    assert other() == {"purity"}


def test_what_decides_an_interval_or_a_null_decides_its_key(tmp_path: Path, folder: Path) -> None:
    files = ActivationsConfig(path=str(folder))

    def keys(uncertainty: UncertaintyConfig = BOTH, metrics: dict[str, Metric] = METRICS, **changes: Any) -> set[str]:
        """Each with what it is of."""
        asked = measured(tmp_path, dataset=ActivationFiles(), activations=files, **changes)
        study = uncertainty_of(lay_out(replace(asked, metrics=MetricSet(metrics, uncertainty=uncertainty))))
        assert study is not None
        # One set of lists serves all, also those that read fewer neighbours, which come last here.
        assert {each.k for each in study.lists.values()} == {max(each.k for each in study.blocks.values())}
        measures = [*study.blocks.values(), *(stage for null in study.nulls.values() for stage in null.stages)]
        lists = [f"lists {each.spec.key}" for each in study.lists.values()]
        return {*lists, *(f"{each.name} {getattr(each, 'key', '')} {each.spec.key}" for each in measures)}

    def other(*given: Any, **changes: Any) -> set[str]:
        """Which of them are others."""
        return {what.rpartition(" ")[0] for what in keys(*given, **changes) - before}

    before = keys()
    blocks = {f"block_values {key}" for key in ("id", "nncs", "hubness", "nnls", "imbalance")}
    ranks, lists_read = "permuted_ranks imbalance", {f"null_values {key}" for key in ("nncs", "nnls")}
    nulls = {*lists_read, ranks}
    assert {what.rpartition(" ")[0] for what in before} == {"lists", *blocks, *nulls}
    assert not other()
    assert other(replace(BOTH, permutations=99)) == nulls
    assert other(neighbors=ExactEngine(k=K, preprocess="zscore")) == {"lists", *blocks, *nulls}
    # 9 / 4^(2/3) = 3.57 instead of 2 within a block; some read as many as ever.
    reading = blocks - {"block_values id", "block_values imbalance"}
    assert other(neighbors=ExactEngine(k=9)) == {"lists", *reading, *lists_read}
    of_labels = {"block_values nncs", "null_values nncs"}
    assert other(BOTH, {**METRICS, "nncs": NNCS(class_balanced=True)}) == of_labels
    np.save(folder / "labels.npy", np.arange(200) % 4)
    assert other() == of_labels


def test_lists_of_one_neighbour_have_the_two_that_the_dimension_reads(tmp_path: Path) -> None:
    (reach,) = {tuple(spec.identity["reach"]) for spec in list_specs(studied(tmp_path, SampleStudyConfig((20,), (1,))))}
    assert reach == (2, 2)


def test_metrics_of_other_graphs_are_left_out(tmp_path: Path) -> None:
    """Their values are not those of the k nearest, which the lists hold."""
    metrics = {"id": TwoNN(), "nncs": NNCS(graph="mutual"), "nnls": NNLS(graph="union")}
    stages = lay_out(studied(tmp_path, metrics=MetricSet(metrics))).stages
    assert {stage.name for stage in stages if stage.name.startswith("sample_")} == {"sample_lists", "sample_dimension"}
