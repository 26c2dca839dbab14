"""Measured results in the store: what is saved is what is read, and what is missing stays missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rra_cli.core.artifact import StoreError
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.metrics.estimate import Estimate
from rra_cli.stages import results
from rra_cli.stages.results import Measured


def stored(root: Path, measured: list[Measured]) -> tuple[Store, Spec]:
    store, spec = Store(root), Spec("measure", 1, {"metric": "x"})
    with store.claim(spec) as work:
        out = work.path / "result"
        out.mkdir()
        results.save(out, measured)
        work.publish(out.name)
    return store, spec


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    """Arrays that only some layers have come back to those layers, in any order of layers."""
    first = Measured({"value": 1.5, "reason": ""}, {"per_sample": np.arange(4.0), "quantiles": np.ones(3)})
    empty = Measured({"value": None, "reason": "collapsed"}, {"per_sample": np.full(4, np.nan)})
    last = Measured({"value": 2.0, "reason": ""}, {"quantiles": np.arange(3.0), "per_sample": -np.arange(4.0)})
    store, spec = stored(tmp_path, [first, empty, last])
    artifact = store.find(spec)
    assert artifact is not None
    loaded = results.load(artifact)
    assert [found.figures for found in loaded] == [layer.figures for layer in (first, empty, last)]
    for found, layer in zip(loaded, (first, empty, last), strict=True):
        assert set(found.arrays) == set(layer.arrays)
        for name, array in layer.arrays.items():
            np.testing.assert_array_equal(found.arrays[name], array)


def test_no_number_is_null_and_never_nan(tmp_path: Path) -> None:
    """JSON knows no NaN: a reader in another language would stumble."""
    figures = results.figures_of(Estimate(float("nan"), reason="collapsed", n_used=0))
    assert figures == {"value": None, "std_error": None, "chance": None, "reason": "collapsed", "n_used": 0}
    results.save(tmp_path, [Measured(figures, {})])
    assert json.loads((tmp_path / results.RESULT).read_text())["figures"] == [figures]
    with pytest.raises(ValueError, match="not JSON compliant"):
        results.save(tmp_path, [Measured({**figures, "value": float("nan")}, {})])


def test_values_by_sample_are_kept_on_request_only() -> None:
    estimate = Estimate(1.0, per_sample=np.ones(5), n_used=5, details={"table": np.eye(2), "ties": 3})
    assert set(results.arrays_of(estimate, per_sample=False)) == {"table"}
    assert set(results.arrays_of(estimate, per_sample=True)) == {"table", "per_sample"}
    assert set(results.arrays_of(Estimate(1.0), per_sample=True)) == set()


def test_an_array_that_needs_a_pickle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        results.save(tmp_path, [Measured({}, {"classes": np.array([{}, None], dtype=object)})])


@pytest.mark.parametrize("forged", ["[]", '{"figures": 3}', '{"figures": [{}], "arrays": {"x": [7]}}', "[" * 5000])
def test_a_forged_result_is_named(tmp_path: Path, forged: str) -> None:
    """Whoever can write into a store can write checksums, too."""
    store, spec = Store(tmp_path), Spec("measure", 1, {"metric": "x"})
    with store.claim(spec) as work:
        out = work.path / "result"
        out.mkdir()
        (out / results.RESULT).write_text(forged)
        np.save(out / "x.npy", np.zeros((1, 2)))
        artifact = work.publish(out.name)
    with pytest.raises(StoreError, match=r"result\.json is not what rra writes"):
        results.load(artifact)
