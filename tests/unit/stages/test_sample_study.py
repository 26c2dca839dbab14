"""A study of sample sizes: its values are those of runs of each size, its ends hold by definition, it goes on."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from test_multi_scale import experiment as base
from test_multi_scale import rows, run

from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet
from rra_cli.config.samples import SampleStudyConfig
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.digits import Digits
from rra_cli.errors import UserError
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.metrics.spectrum import SingularValues
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.neighbors.nn_descent import PynndescentEngine
from rra_cli.neighbors.subsets import exact_subset_blocks
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.samples import lists as sample_lists
from rra_cli.stages.samples.order import sampling
from rra_cli.stages.samples.tables import compared

N, SIZES, K = 50, (20, 35), 5
DENSITIES = (0.1, 0.4, 1.0)
STUDY = SampleStudyConfig(SIZES, (K, *DENSITIES), fixed_k=(3,))


def experiment(root: Path, study: SampleStudyConfig = STUDY, **changes: Any) -> Experiment:
    """Six layers of untrained maps of 50 digits, ten classes in turn."""
    dataset = Digits(n_samples=N, splits=("test",), balanced=True)
    return base(root, **{"pooling": {"none": Pooling()}, "dataset": dataset, "samples": study, **changes})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("samples")


@pytest.fixture(scope="module")
def tables(root: Path) -> Path:
    return run(experiment(root), root / "run")


def values(found: list[dict[str, str]], *columns: str, of: str = "value") -> dict[tuple[str, ...], float]:
    return {tuple(row[column] for column in columns): float(row[of] or "nan") for row in found}


# What the values are


@pytest.mark.parametrize("size", [SIZES[0], N])
def test_values_at_a_size_are_those_of_a_run_of_that_size(root: Path, tables: Path, size: int) -> None:
    """So the subsets are nested in the measured set, and drawn as it is."""
    alone = experiment(root, SampleStudyConfig(), dataset=Digits(n_samples=size, splits=("test",), balanced=True))
    single = run(alone, root / f"alone{size}")
    for metric, k in (("id_twonn", 2), ("nncs", K)):
        here = rows(tables / "samples.csv", n_samples=str(size), metric=metric, k=str(k))
        there = rows(single / "metrics.csv", metric=metric)
        assert len(here) == 6
        for of in ("value", "std_error", "chance", "n_used"):
            expected = values(there, "layer", of=of)
            assert values(here, "layer", of=of) == pytest.approx(expected, abs=1e-12, nan_ok=True), of
    here = rows(tables / "samples_nnls.csv", n_samples=str(size), k=str(K))
    for of in ("nnls", "std_error", "chance"):
        expected = values(rows(single / "nnls.csv"), "layer_a", "layer_b", of=of)
        found = values(here, "layer_a", "layer_b", of=of)
        assert len(found) == 15
        assert found == pytest.approx({pair: expected[pair] for pair in found}, abs=1e-12), of
    quantiles = values(rows(tables / "samples_mu.csv", n_samples=str(size)), "layer", "quantile", of="mu")
    expected = values(rows(single / "mu.csv"), "layer", "quantile", of="mu")
    assert quantiles == pytest.approx(expected, abs=1e-12)


def test_every_size_has_its_numbers_of_neighbours(tables: Path) -> None:
    found = {(row["n_samples"], row["k"]) for row in rows(tables / "samples.csv", metric="nncs")}
    expected = {"20": (2, 3, 5, 8, 19), "35": (3, 4, 5, 14, 34), "50": (3, 5, 20, 49)}
    assert found == {(n, str(k)) for n, ks in expected.items() for k in ks}


def test_where_every_other_sample_is_a_neighbour_values_hold_by_definition(root: Path, tables: Path) -> None:
    for row in rows(tables / "samples.csv", metric="nncs"):
        assert (row["basis"] == "definition") == (int(row["k"]) == int(row["n_samples"]) - 1)
        if row["basis"] == "definition":
            assert row["std_error"] == "", "there is no error in a definition"
            assert float(row["value"]) == pytest.approx(float(row["chance"]), abs=1e-15)
    for row in rows(tables / "samples_nnls.csv", basis="definition"):
        assert (float(row["nnls"]), float(row["chance"])) == (1.0, 1.0)
    assert {row["basis"] for row in rows(tables / "samples.csv", metric="id_twonn")} == {"graph"}
    store = Store(root / "store")
    searched = {spec.identity["reach"][-1] for spec in list_specs(experiment(root)) if store.find(spec)}
    assert searched == {20}, "no graph of k = N - 1 is searched"


def list_specs(chosen: Experiment) -> list[Spec]:
    return [stage.specs[0] for stage in lay_out(chosen).stages if stage.name == "sample_lists"]


def test_nnls_sim_is_the_mean_divergence_of_the_maps(tables: Path) -> None:
    pairs = values(rows(tables / "samples_nnls.csv"), "n_samples", "k", "layer_a", "layer_b", of="nnls")

    def cells(n: str, k: str) -> list[float]:
        """Of the whole map: its diagonal is 1."""
        return [1.0] * 6 + [value for place, value in pairs.items() if place[:2] == (n, k) for _ in range(2)]

    found = rows(tables / "nnls_sim.csv")
    for row in found:
        one, other = cells(row["n_samples_a"], row["k_a"]), cells(row["n_samples_b"], row["k_b"])
        both = zip(one, other, strict=True)
        expected = [float(jensenshannon([p, max(0.0, 1 - p)], [q, max(0.0, 1 - q)])) ** 2 for p, q in both]
        assert float(row["bernoulli"]) == pytest.approx(np.mean(np.nan_to_num(expected)), abs=1e-8)
    assert max(float(row["bernoulli"]) for row in found) > 0.01
    ends = rows(tables / "nnls_sim.csv", basis_a="definition", basis_b="definition")
    assert len(ends) == 3, "pairs of sizes"
    assert {float(row["bernoulli"]) for row in ends} == {0.0}


def test_cells_are_compared_at_equal_n_equal_density_and_equal_k(root: Path) -> None:
    layout = lay_out(experiment(root))
    chosen = sampling(layout.data, "test", N, SIZES, STUDY.steps)
    cells = [cell for size in chosen.sizes for cell in chosen.settings[size]]
    found = {(fixed, a.n_samples, a.k, b.n_samples, b.k, step) for (fixed, step), a, b in compared(cells)}
    at_one_density = {place[1:5] for place in found if place[0] == "ndr" and place[5] == 0.4}
    assert at_one_density == {(20, 8, 35, 14), (20, 8, 50, 20), (35, 14, 50, 20)}
    assert {place[1:5] for place in found if place[0] == "k"} == {
        (a, k, b, k) for k, (a, b) in product((3, K), ((20, 35), (20, 50), (35, 50)))
    }
    at_one_n = [place for place in found if place[0] == "n_samples"]
    assert all(place[1] == place[3] and place[2] < place[4] for place in at_one_n)
    assert len(at_one_n) == 10 + 10 + 6, "all pairs of 5, 5 and 4 numbers of neighbours"


# How it is built


def test_the_same_run_again_builds_nothing_and_writes_the_same(root: Path, tables: Path) -> None:
    store, layout = Store(root / "store"), lay_out(experiment(root))
    assert all(target.stage.done(store) for study in layout.studies for target in study.targets)
    again = run(experiment(root), root / "again")
    for name in ("samples", "samples_mu", "samples_nnls", "nnls_sim"):
        assert (again / f"{name}.csv").read_bytes() == (tables / f"{name}.csv").read_bytes()


def test_lists_are_freed_once_they_are_measured(
    root: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, searched = replace(experiment(tmp_path), activations=ActivationsConfig(keep="until_measured")), list[int]()

    def counted(*given: Any, **options: Any) -> Any:
        searched.append(1)
        return exact_subset_blocks(*given, **options)

    monkeypatch.setattr(sample_lists, "exact_subset_blocks", counted)
    freed = run(chosen, tmp_path / "run")
    assert len(searched) == 6, "each layer once: not before all that reads a list is measured"
    assert (freed / "samples.csv").read_bytes() == (tables / "samples.csv").read_bytes()
    store = Store(tmp_path / "store")
    specs = list_specs(chosen)
    assert len(specs) == 6
    assert not any(store.find(spec) for spec in specs)
    assert all(stage.done(store) for stage in lay_out(chosen).stages if stage.name == "sample_lists"), "nobody reads"
    kept = Store(root / "store")
    assert all(kept.find(spec) for spec in list_specs(experiment(root))), "without it they stay"


def test_further_numbers_of_neighbours_take_the_lists_that_are_there(root: Path, tables: Path) -> None:
    more = experiment(root, replace(STUDY, fixed_ndr=(0.2,)))
    assert list_specs(more) == list_specs(experiment(root))
    longer = experiment(root, replace(STUDY, fixed_ndr=(0.6,)))
    assert list_specs(longer) != list_specs(experiment(root))


def test_damaged_lists_are_searched_again(tmp_path: Path) -> None:
    chosen = experiment(tmp_path, replace(STUDY, sizes=(20,)))
    run(chosen, tmp_path / "run")
    store = Store(tmp_path / "store")
    layout = lay_out(chosen)
    for study in layout.studies:
        for target in study.targets:
            store.free(target.stage.specs[0])
    artifact = store.find(list_specs(chosen)[0])
    assert artifact is not None
    path = artifact.file("indices_20.npy")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    again = run(chosen, tmp_path / "again")
    assert (again / "samples.csv").read_bytes() == (tmp_path / "run" / "tables" / "samples.csv").read_bytes()
    assert any((tmp_path / "store" / "damaged").iterdir())


def test_a_search_that_was_killed_leaves_nothing_that_counts(
    tmp_path: Path, tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception): ...

    def some_blocks(*given: Any, **options: Any) -> Any:
        blocks = exact_subset_blocks(*given, **options)
        yield next(blocks)
        raise Killed

    chosen = experiment(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(sample_lists, "exact_subset_blocks", some_blocks)
        with pytest.raises(Killed):
            run(chosen, tmp_path / "run")
    done = run(chosen, tmp_path / "run")
    assert (done / "samples.csv").read_bytes() == (tables / "samples.csv").read_bytes()


# What is asked for


def test_sizes_beyond_the_measured_set_are_left_out_and_told(root: Path) -> None:
    layout = lay_out(experiment(root, replace(STUDY, sizes=(20, 50, 100))))
    assert any("100 left out of test, of which 50 are measured" in note for note in layout.notes)
    assert list_specs(experiment(root, replace(STUDY, sizes=(20, 50))))[0].identity["sizes"] == [20, 50]


def test_few_samples_are_told(root: Path) -> None:
    (note,) = (n for n in lay_out(experiment(root, replace(STUDY, sizes=(20, 35, 50)))).notes if "chance" in n)
    assert note == "samples.sizes: of 20, 35 samples values are mostly chance; 50 or more say something"
    assert not any("chance" in note for note in lay_out(experiment(root, replace(STUDY, sizes=(50,)))).notes)


def test_without_sizes_there_is_no_study(root: Path) -> None:
    assert not lay_out(experiment(root, SampleStudyConfig())).studies


def test_other_engines_are_refused(root: Path) -> None:
    with pytest.raises(UserError, match="compares exact graphs, but neighbors=pynndescent") as told:
        lay_out(experiment(root, neighbors=PynndescentEngine(k=K)))
    assert "neighbors=exact" in told.value.hint


def test_a_run_without_a_metric_that_is_studied_is_refused(root: Path) -> None:
    with pytest.raises(UserError, match="studies twonn, nncs and nnls"):
        lay_out(experiment(root, metrics=MetricSet({"spectrum": SingularValues()})))
    assert lay_out(experiment(root, metrics=MetricSet({"nnls": NNLS()}))).studies


@pytest.mark.parametrize("kind", [NNCS, NNLS])
def test_a_run_with_metrics_of_other_graphs_alone_is_refused(root: Path, kind: type[NNCS | NNLS]) -> None:
    """They would be measured at the run's own N and k, and nowhere else."""
    of_mutual = {"mine": kind(graph="mutual"), "wide": kind(graph="union")}
    with pytest.raises(UserError, match=r"of directed graphs.* mine \(graph=mutual\), wide \(graph=union\)") as told:
        lay_out(experiment(root, metrics=MetricSet(dict(of_mutual))))
    assert "metrics=rra" in str(told.value.hint)
    assert lay_out(experiment(root, SampleStudyConfig(), metrics=MetricSet(dict(of_mutual)))).graphs, "without sizes"
    for studied in (kind(), TwoNN()):
        (study,) = lay_out(experiment(root, metrics=MetricSet({**of_mutual, "studied": studied}))).studies
        assert {target.stage.key for target in study.targets} == {"studied"}


def test_a_study_of_which_nothing_can_be_measured_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "00_a.npy", np.random.default_rng(0).normal(size=(60, 8)))
    files = {"dataset": ActivationFiles(), "activations": ActivationsConfig(path=str(tmp_path))}
    with pytest.raises(UserError, match="nothing to study: nncs needs labels, and nnls at least two layers") as told:
        lay_out(experiment(tmp_path, metrics=MetricSet({"nncs": NNCS(), "nnls": NNLS()}), **files))
    assert "twonn" in str(told.value.hint)
    assert lay_out(experiment(tmp_path, metrics=MetricSet({"id": TwoNN()}), **files)).studies


# Other data


def test_a_users_files_have_it_too(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    folder = tmp_path / "layers"
    folder.mkdir()
    wide = random.normal(size=(60, 8)).astype(np.float32)
    for name, layer in (("00_a", wide), ("01_b", wide @ random.normal(size=(8, 3)).astype(np.float32))):
        np.save(folder / f"{name}.npy", layer)
    more = {"linear": TwoNN(fit="linear"), "balanced": NNCS(class_balanced=True)}
    chosen = experiment(
        tmp_path,
        dataset=ActivationFiles(),
        activations=ActivationsConfig(path=str(folder)),
        neighbors=ExactEngine(k=K),
        metrics=MetricSet({**base(tmp_path).metrics.metrics, **more}),
    )
    found = run(chosen, tmp_path / "plain")
    assert {row["metric"] for row in rows(found / "samples.csv")} == {"id_twonn", "linear"}, "without labels no NNCS"
    ratios = [(row["layer"], row["n_samples"], row["quantile"]) for row in rows(found / "samples_mu.csv")]
    assert len(ratios) == len(set(ratios)) > 0, "of two fits, which see the same ratios, once"
    assert {row["n_samples"] for row in rows(found / "samples_nnls.csv")} == {"20", "35", "60"}
    np.save(folder / "labels.npy", random.integers(0, 3, size=60))
    labelled = run(chosen, tmp_path / "labelled")
    assert {row["metric"] for row in rows(labelled / "samples.csv")} == {"id_twonn", "linear", "nncs", "balanced"}
    for metric, of in product(("nncs", "balanced"), ("value", "std_error", "chance")):
        here = values(rows(labelled / "samples.csv", metric=metric, n_samples="60", k=str(K)), "layer", of=of)
        assert here == pytest.approx(values(rows(labelled / "metrics.csv", metric=metric), "layer", of=of), abs=1e-12)
    others = np.bincount(np.load(folder / "labels.npy")) - 1
    assert len(set(others)) > 1, "the control: classes differ in size"
    for row in rows(labelled / "samples.csv", metric="balanced", n_samples="60", basis="definition"):
        assert float(row["value"]) == pytest.approx(np.mean(others / 59), abs=1e-12)


def test_collapsed_layers_and_copies_have_reasons(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    folder = tmp_path / "layers"
    folder.mkdir()
    maps = random.normal(size=(60, 3, 2, 2)).astype(np.float32)
    np.save(folder / "00_a.npy", maps)
    np.save(folder / "01_point.npy", np.concatenate([maps, -maps], axis=3))  # whose means are 0
    maps[:20] = maps[20:24].repeat(5, axis=0)  # some have as many copies as neighbours are looked at, most have none
    np.save(folder / "02_copies.npy", maps)
    labels = np.arange(60) % 3
    labels[:20] = labels[20:24].repeat(5)  # so that it does not matter which of them are taken
    np.save(folder / "labels.npy", labels)
    chosen = experiment(
        tmp_path,
        pooling={"avg_global": Pooling.named("avg_global")},
        dataset=ActivationFiles(),
        activations=ActivationsConfig(path=str(folder)),
    )
    found = run(chosen, tmp_path / "run")
    for row in rows(found / "samples.csv", layer="point"):
        assert (row["value"] == "") == (row["basis"] == "graph"), "by definition it has one all the same"
        assert row["basis"] == "definition" or "coincide" in row["reason"] or "duplicate" in row["reason"]
    pairs = rows(found / "samples_nnls.csv", layer_a="a", layer_b="point", basis="graph")
    assert pairs
    assert all(row["nnls"] == "" and "collapsed" in row["reason"] for row in pairs)
    # Copies of a sample are its neighbours like others; the single graph says the same.
    alone = rows(found / "metrics.csv", layer="copies", metric="nncs")
    here = rows(found / "samples.csv", layer="copies", metric="nncs", n_samples="60", k=str(K))
    assert float(here[0]["value"]) == pytest.approx(float(alone[0]["value"]), abs=1e-12)
    with (found / "nnls_sim.csv").open(newline="") as file:
        told = [row for row in csv.DictReader(file) if row["basis_a"] == row["basis_b"] == "graph"]
    assert told
    assert all(row["bernoulli"] == "" and "no NNLS" in row["reason"] for row in told)
