"""UMAP from stored lists: as umap-learn on the data itself, repeatable, and refused politely where it is missing."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness

from rra_cli.embedding import umap_graph
from rra_cli.embedding.plane import principal_plane
from rra_cli.embedding.umap_graph import check_library, library, umap_plane
from rra_cli.errors import UserError
from rra_cli.metrics.centred import Centred
from rra_cli.neighbors import exact_neighbors


def test_without_umap_learn_one_line_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UserError, match="needs umap-learn") as caught:
        library()
    assert caught.value.hint == "pip install 'rra[umap]'"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs umap-learn, and that is not installed") as caught:
        check_library()
    assert caught.value.hint == "pip install 'rra[umap]'"


def test_on_an_axis_without_spread_samples_begin_at_random(monkeypatch) -> None:
    """umap-learn divides by the spread of each axis, so no sample of a line would have a place."""
    begun = []

    def learner(**options) -> SimpleNamespace:
        begun.append(options["init"])
        return SimpleNamespace(fit_transform=lambda start: start)

    monkeypatch.setattr(umap_graph, "library", lambda: SimpleNamespace(UMAP=learner))
    line = np.random.default_rng(0).normal(size=(40, 1))
    graph = exact_neighbors(line, 5)
    flat, spread = np.c_[line, np.zeros(40)], np.c_[line, 1e-3 * line**2]
    for start in (flat, flat, spread):
        umap_plane(graph, start)
    for start, found in zip((flat, flat, spread), begun, strict=True):
        np.testing.assert_allclose(found[:, 0], start[:, 0] / np.abs(start).max(), rtol=1e-6)
        assert len(np.unique(found[:, 1])) == 40
    np.testing.assert_array_equal(begun[0], begun[1])
    np.testing.assert_allclose(begun[2][:, 1], spread[:, 1] / np.abs(spread).max(), rtol=1e-6)


@pytest.mark.long
def test_samples_on_a_line_have_a_picture() -> None:
    pytest.importorskip("umap")
    x = np.random.default_rng(0).normal(size=(200, 1))
    found = umap_plane(exact_neighbors(x, 10), principal_plane(Centred(x)).coordinates)
    assert trustworthiness(x, found, n_neighbors=10) > 0.95


@pytest.mark.long
def test_lists_alone_give_a_picture_as_good_as_the_data_and_the_same_one_again() -> None:
    umap = pytest.importorskip("umap")
    x = load_digits().data[:400]
    graph, start = exact_neighbors(x, 10), principal_plane(Centred(x)).coordinates
    found = umap_plane(graph, start)
    np.testing.assert_array_equal(found, umap_plane(graph, 100.0 * start))
    theirs = umap.UMAP(n_neighbors=11, random_state=0, n_jobs=1).fit_transform(x)
    ours, other, flat = (trustworthiness(x, picture, n_neighbors=10) for picture in (found, theirs, start))
    assert ours == pytest.approx(other, abs=0.01)
    assert flat < ours - 0.05, "the control: the plane that it began with"
    # The lists decide: those of other data lead elsewhere.
    mixed = umap_plane(exact_neighbors(np.random.default_rng(0).permutation(x), 10), start)
    assert trustworthiness(x, mixed, n_neighbors=10) < 0.7
