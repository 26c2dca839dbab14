"""A pullback metric where there is no network, or where the samples are altered: refused, not passed over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rra_cli.config.compose import load
from rra_cli.errors import UserError
from rra_cli.stages.lay_out import lay_out

SMALL = ["dataset=digits", "model=mlp", "metrics=pullback"]


def test_files_of_activations_have_no_network(tmp_path: Path) -> None:
    np.save(tmp_path / "layer.npy", np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))
    files = ["experiment=from_activations", f"activations.path={tmp_path}", "neighbors.k=5"]
    with pytest.raises(UserError, match=r"metrics\.pullback looks at a network, but dataset=activations has none"):
        lay_out(load([*files, "metrics=[rra,pullback]"]))
    assert lay_out(load([*files, "metrics=rra"])).targets, "control"


def test_altered_samples_are_not_what_it_goes_between() -> None:
    with pytest.raises(UserError, match=r"alter=noise alters .* metrics\.pullback goes between the samples themselves"):
        lay_out(load([*SMALL, "alter=noise"]))
    assert lay_out(load(SMALL)).targets, "control"
