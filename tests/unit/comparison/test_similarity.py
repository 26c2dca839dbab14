"""Models compared by neighbourhood overlap: the definition by sets, its chance level, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_folders import LAYERS, finished_run, random_graph

from rra_cli.cli.compare import main
from rra_cli.comparison.groups import group_runs
from rra_cli.comparison.matrices import diagonal_rows, matrices, matrix_rows, model_rows
from rra_cli.comparison.paired import compare_models
from rra_cli.comparison.similarity import METRICS, chance_of, check_metrics, similarities
from rra_cli.comparison.walk import Options
from rra_cli.errors import UserError
from rra_cli.metrics.layer_similarity import nnls
from rra_cli.metrics.neighborhood_overlap import neighborhood_overlap


@pytest.mark.parametrize("metric", METRICS)
def test_values_errors_and_chance_are_those_of_the_metric_in_a_run(metric: str) -> None:
    graphs = [random_graph(40, 6, seed) for seed in range(3)]
    pairs = np.array([[0, 1], [0, 2], [1, 2]])
    found = similarities(metric, graphs, pairs, 6, 1)
    for (a, b), (value, error) in found.items():
        if metric == "nnls":
            estimate = nnls(graphs[a], graphs[b])
        else:
            weights = {"overlap": "top", "overlap_average": "average", "overlap_rank_biased": "rank_biased"}[metric]
            estimate = neighborhood_overlap(graphs[a], graphs[b], weights=weights)  # type: ignore[arg-type]
        assert value == pytest.approx(estimate.value, abs=1e-12)
        assert error == pytest.approx(estimate.std_error, abs=1e-12)
        assert chance_of(metric, 6, 39) == pytest.approx(estimate.chance, abs=1e-12)
    assert similarities(metric, graphs, pairs[:0], 6, 1) == {}


def test_rank_aware_overlap_does_not_depend_on_how_many_pairs_fit_into_memory(monkeypatch) -> None:
    graphs = [random_graph(40, 6, seed) for seed in range(4)]
    pairs = np.array([[a, b] for a in range(4) for b in range(a + 1, 4)])
    whole = similarities("overlap_rank_biased", graphs, pairs, 6, 1)
    monkeypatch.setattr("rra_cli.comparison.similarity._MEMORY", 1)
    assert similarities("overlap_rank_biased", graphs, pairs, 6, 1) == whole


def test_each_metric_has_its_own_rows_with_intervals_over_seeds(tmp_path: Path) -> None:
    runs = [finished_run(tmp_path, seed, group=group) for group in ("a", "b") for seed in range(3)]
    groups = group_runs(runs).groups
    found, refused = compare_models(groups, ["last"], metrics=("nnls", "overlap"), threads=1)
    assert refused == []
    assert [each.metric for each in found] == ["nnls", "overlap"]
    iou, share = found
    assert share.chance == pytest.approx(5 / 29)
    cells = {}
    for each in found:
        rows = [row for matrix in matrices(each, groups) for row in matrix_rows(matrix)]
        assert {row["metric"] for row in rows} == {each.metric}
        assert all(row["low"] <= row["mean"] <= row["high"] for row in rows)
        cells[each.metric] = [row["mean"] for row in rows]
        assert len([r for m in matrices(each, groups) for r in diagonal_rows(m)]) == 3 * len(LAYERS)
    assert all(a <= b for a, b in zip(cells["nnls"], cells["overlap"], strict=True)), "|A and B| / k is the larger"
    assert cells["nnls"] != cells["overlap"]
    (one, *_), (other, *_) = (list(model_rows(each, groups)) for each in (iou, share))
    assert "nnls" in one
    assert "similarity" in other
    assert "nnls" not in other


def test_unknown_metrics_are_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="models are not compared by 'overlapp'; did you mean 'overlap'") as caught:
        Options(metrics=("overlapp",))
    assert "nnls,overlap,overlap_average,overlap_rank_biased" in caught.value.hint
    with pytest.raises(UserError, match="--metric names none"):
        check_metrics([])
    with pytest.raises(UserError, match="models are not compared by 'cka'"):
        main([str(tmp_path), "--metric", "nnls,cka"])
