"""The training figure of methods that do not classify: the k-NN accuracy, spread and effective rank."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rra_cli.report.load import load_run
from rra_cli.report.run import Run
from rra_cli.report.training_curves import training_figure

MakeRun = Callable[..., Path]


def run_with(make_run: MakeRun, lines: list[dict[str, Any]]) -> Run:
    folder = make_run(layers=["a"], stages=None, checkpoints=[("last", len(lines) - 1)])
    (folder / "training.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return load_run(folder)


def line(epoch: int, looked: bool) -> dict[str, Any]:
    known = {"knn_accuracy": 0.1 * epoch, "embedding_std": 0.5, "effective_rank": 3.0 + epoch, "projection_std": 0.9}
    return {
        "epoch": epoch,
        "train_loss": -0.1 * epoch if epoch else None,
        "test_loss": None,
        "test_accuracy": None,
        "train_clean_accuracy": None,
        **{name: value if looked else None for name, value in known.items()},
    }


def drawn(figure: Figure, name: str) -> list[Any]:
    return [artist for axes in figure.axes for artist in axes.lines if artist.get_gid() == name]


def test_what_was_logged_is_drawn_and_joined_over_epochs_without_it(make_run: MakeRun) -> None:
    run = run_with(make_run, [line(epoch, epoch % 2 == 0) for epoch in range(5)])
    figure = training_figure(run)
    assert figure is not None
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy", "embedding std", "effective rank"]
    (knn,) = drawn(figure, "knn_accuracy")
    assert list(knn.get_xdata()) == [0, 2, 4]
    np.testing.assert_allclose(knn.get_ydata(), [0.0, 0.2, 0.4])
    assert not drawn(figure, "test_accuracy"), "no accuracy where the method does not classify"
    (rank,) = drawn(figure, "effective_rank")
    assert list(rank.get_ydata()) == [3, 5, 7]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["train", "k-NN, test", "representation", "projection", "measured"]


def test_a_loss_below_0_is_not_cut_off(make_run: MakeRun) -> None:
    figure = training_figure(run_with(make_run, [line(epoch, True) for epoch in range(5)]))
    assert figure is not None
    assert figure.axes[0].get_ylim()[0] < -0.4
    assert figure.axes[1].get_ylim() == (0.0, 1.02)
