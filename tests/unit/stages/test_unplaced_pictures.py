"""A picture in which no sample has a place: a reason in the table, on the screen and under the plot."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.config.pictures import PicturesConfig
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.augment import NoAugment
from rra_cli.methods.none import NoTraining
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.report.load import load_run
from rra_cli.report.picture_plots import picture_plots
from rra_cli.training.optimizer import SGD


def test_a_layer_none_of_whose_samples_has_a_place_is_named_with_the_reason(tmp_path: Path, monkeypatch) -> None:
    normal = np.random.RandomState(0).normal
    folder = tmp_path / "layers"
    folder.mkdir()
    for name in ("000_x", "001_y"):
        np.save(folder / f"{name}.npy", normal(size=(50, 3)))
    places = iter((normal(size=(50, 2)), np.full((50, 2), np.nan)))
    monkeypatch.setattr("rra_cli.stages.picture_study.check_library", lambda: None)
    monkeypatch.setattr("rra_cli.embedding.umap_graph.umap_plane", lambda *given, **settings: next(places))
    files = Experiment(
        name="test",
        seed=0,
        dataset=ActivationFiles(),
        model=MLP(),
        method=NoTraining(),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=6),
        metrics=MetricSet({"id_twonn": TwoNN()}),
        activations=ActivationsConfig(path=str(folder)),
        pictures=PicturesConfig(layers=("*",), methods=("umap",)),
        store=StoreConfig(str(tmp_path / "store")),
    )
    told: list[str] = []
    reporter: Any = SimpleNamespace(
        task=lambda title: nullcontext(lambda done, total, note: None), note=lambda message: None, warn=told.append
    )
    monkeypatch.setattr(pipeline, "render", lambda *args, **keywords: [])
    pipeline.run(files, tmp_path / "run", reporter, config={})
    reason = "umap gives no sample a place"
    run = load_run(tmp_path / "run")
    qualities, pictures = run.tables.picture_quality, run.tables.pictures
    assert qualities is not None
    assert pictures is not None
    assert qualities["reason"].tolist() == ["", reason]
    assert set(pictures["layer"]) == {"x"}
    assert [line for line in told if reason in line] == [f"picture umap of y · last · test: no picture, {reason}"]
    (plot,) = picture_plots(run)
    assert plot.caption.endswith(f"No picture of y: {reason}.")
