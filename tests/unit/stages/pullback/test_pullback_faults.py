"""What a pullback metric refuses, in one line each; and a layer without a volume, which has a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pullback_runs import GRID, LINE, PLANE, Quiet, experiment, run

from rra_cli.config.experiment import MetricSet
from rra_cli.core.store import Store
from rra_cli.data.dataset import Samples
from rra_cli.data.digits import Digits
from rra_cli.data.sinusoid import Sinusoid
from rra_cli.errors import UserError
from rra_cli.metrics.pullback import Pullback
from rra_cli.models.mlp import MLP
from rra_cli.pullback.place import Place
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.pullback.notes import naming
from rra_cli.stages.pullback.stage import PullbackStage


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"metrics": MetricSet({"m": replace(GRID, curvature=False)})}, "at is grid.*64 numbers"),
        ({"metrics": MetricSet({"m": replace(LINE, layers=("hiden1",))})}, "matches no layer.*hidden1"),
        ({"metrics": MetricSet({"m": replace(LINE, classes=(1, "eleven"))})}, "^metrics.m: there is no class 'eleven'"),
        ({"dataset": Sinusoid(), "metrics": MetricSet({"m": replace(PLANE, classes=())})}, "is a plane itself"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(tmp_path: Path, changes: Any, fault: str) -> None:
    with pytest.raises(UserError, match=fault) as caught:
        lay_out(replace(experiment(tmp_path, {"m": LINE}), **changes))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("metric", "fault"),
    [
        (replace(PLANE, classes=(), ids=(3, 3, 3)), "all 3 anchors are the same image"),
        (replace(PLANE, classes=(), ids=(3, 4, 3)), "are the same image"),
        (replace(LINE, ids=(3, 99_999)), "ids names sample 99999"),
        (replace(LINE, n_units=2000), "lines need more samples"),
        (replace(LINE, at="points", n=5000), "only 1,437 such samples"),
    ],
)
def test_samples_that_do_not_fit_are_told_with_the_metric_among_several(
    tmp_path: Path, metric: Pullback, fault: str
) -> None:
    with pytest.raises(UserError, match=rf"^metrics\.m: .*{fault}"):
        lay_out(experiment(tmp_path, {"way": LINE, "m": metric})).check(Store(tmp_path / "store"), Quiet())


def test_a_fault_names_its_metric_once() -> None:
    for said in ("metrics.m.layers names none", "layers names none"):
        with pytest.raises(UserError) as caught, naming("m"):
            raise UserError(said, "name one")
        assert caught.value.message.count("metrics.m") == 1
        assert caught.value.hint == "name one"


def test_collinear_images_span_no_plane() -> None:
    base = np.zeros((3, 1, 2, 2), np.uint8)
    base[1], base[2] = 100, 200
    samples = Samples(base, np.array([0, 1, 2]), np.arange(3))
    with pytest.raises(UserError, match="on one line"):
        _ = Place(replace(PLANE, classes=(), ids=(0, 1, 2), n_units=1), Digits(), samples)


def test_too_little_memory_says_what_to_lower(tmp_path: Path) -> None:
    from rra_cli.config.experiment import Runtime

    wanted = experiment(tmp_path, {"way": LINE}, runtime=Runtime(memory="10KB"))
    with pytest.raises(UserError, match=r"^metrics\.way: .*may be taken") as caught:
        run(wanted, tmp_path / "run")
    assert caught.value.hint is not None
    assert "limit" in caught.value.hint


def test_a_constant_layer_has_no_volume_but_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = PullbackStage.maps

    def constant(self: PullbackStage, encoder: Any, *rest: Any, **more: Any) -> Any:
        with torch.no_grad():
            encoder.module.hidden1.linear.weight.zero_()
        return original(self, encoder, *rest, **more)

    wanted = experiment(tmp_path, {"way": LINE}, model=MLP(width=16, depth=1, activation="gelu"))
    layout = lay_out(wanted)
    monkeypatch.setattr(PullbackStage, "maps", constant)
    assert layout.stages
    tables, reporter = run(wanted, tmp_path / "run")
    assert {row["log10_volume"] for row in tables["pullback_points"]} == {""}
    assert all("rank 0" in row["reason"] for row in tables["pullback"])
    assert any("rank 0" in warning for warning in reporter.warnings)
