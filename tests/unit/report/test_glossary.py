"""A column is told by the class that the run names for it: its name may be anything, and the class may be new."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from rra_cli.core.component import components
from rra_cli.metrics.estimate import Estimate
from rra_cli.metrics.metric import LayerData, LayerMetric
from rra_cli.report import render
from rra_cli.report.curves import curve
from rra_cli.report.glossary import CLASS_SIMILARITY, INTRINSIC_DIMENSION, LAYER_SIMILARITY, term
from rra_cli.report.load import load_run
from rra_cli.report.plots import plots
from rra_cli.report.tables.reading import read_table
from rra_cli.report.tables.writing import write_table

MakeRun = Callable[..., Path]


@dataclass(frozen=True)
class Foo(LayerMetric):
    """How <foo> a layer is.

    A second line of its docstring.
    """

    name: ClassVar[str] = "foo"
    unit: ClassVar[str] = "foos"
    low: ClassVar[float | None] = -1.0
    high: ClassVar[float | None] = 1.0
    higher_is: ClassVar[str] = "more foo"

    def measure(self, layer: LayerData) -> Estimate:
        return Estimate(0.5)


@dataclass(frozen=True)
class Count(Foo):
    """Counts directions."""

    name: ClassVar[str] = "count"
    unit: ClassVar[str] = "dimensions"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = None


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if an installed package had brought both."""
    monkeypatch.setitem(components("metrics"), "foo", Foo)
    monkeypatch.setitem(components("metrics"), "count", Count)


def renamed(run: Path, old: str, new: str, component: str) -> Path:
    """The run with a column called otherwise, and a configuration that says what it is."""
    for name in ("layers", "metrics"):
        frame = read_table(run / "tables", name).rename(columns={old: new, f"{old}_chance": f"{new}_chance"})
        if name == "metrics":
            frame["metric"] = frame["metric"].replace(old, new)
        write_table(frame, run / "tables", name)
    with (run / "config.yaml").open("a") as file:
        file.write(f"metrics: {{per_sample: false, {new}: {{name: {component}}}}}\n")
    return run


def test_a_column_is_told_by_its_component_whatever_it_is_called(make_run: MakeRun) -> None:
    settings = {"layers": list("abc"), "stages": None, "splits": ["test"], "labels": False}
    run = load_run(renamed(make_run(**settings), "id_twonn", "dim", "twonn"))
    assert run.id_metrics == ("dim",)
    drawn = {plot.name: plot for plot in plots(run)}
    assert "id_curve" in drawn
    assert "dim_curve" not in drawn
    axes = curve(run, run.id_metrics).axes[0]
    assert axes.get_ylabel() == "intrinsic dimension"
    assert axes.get_ylim()[0] == 0.0
    slopes = [line for line in drawn["twonn_fit_test"].draw().axes[0].lines if line.get_gid() == "law"]
    assert slopes, "the fit check knows the fitted dimension"
    # Negative control: without the configuration nobody can know what `dim` is.
    unknown = load_run(make_run("unknown", **settings, id_columns=["dim"]))
    assert unknown.id_metrics == ()
    assert "dim_curve" in {plot.name for plot in plots(unknown)}


@pytest.mark.parametrize(
    ("column", "component", "expected", "short"),
    [
        ("id_twonn", None, INTRINSIC_DIMENSION, "ID"),
        ("id_linear", None, INTRINSIC_DIMENSION, "ID linear"),
        ("id_linear", "twonn", INTRINSIC_DIMENSION, "ID linear"),
        ("dim", "twonn", INTRINSIC_DIMENSION, "ID dim"),
        ("twonn", "twonn", INTRINSIC_DIMENSION, "ID twonn"),
        ("nncs_balanced", None, CLASS_SIMILARITY, "NNCS balanced"),
        ("purity", "nncs", CLASS_SIMILARITY, "NNCS purity"),
        ("id_like", "nncs", CLASS_SIMILARITY, "NNCS like"),
        ("nnls", None, LAYER_SIMILARITY, "NNLS"),
        ("nncs", "of a package that is gone", CLASS_SIMILARITY, "NNCS"),
    ],
)
def test_names(column: str, component: str | None, expected: object, short: str) -> None:
    found = term(column, {} if component is None else {"name": component})
    assert (found.label, found.component, found.short) == (expected.label, expected.component, short)


@pytest.mark.parametrize("component", ["decimation", "gride"])
def test_what_is_said_of_curves_over_scales_is_no_reading_of_a_value(component: str) -> None:
    """The reading stands under plots along the layers."""
    found = term(f"id_{component}", {"name": component})
    assert "curve" in found.over_scales
    assert "curve" not in found.reading
    assert found.reading.startswith("How many directions")


def test_metrics_of_one_name_are_told_apart_in_titles(make_run: MakeRun) -> None:
    settings = {"layers": list("abc"), "stages": None, "splits": ["test"], "labels": False}
    run = load_run(make_run(**settings, id_columns=["id_twonn", "wide", "round"]))
    part = {"name": "pca_dimension"}
    told = replace(run, config={"metrics": {"wide": part, "round": {**part, "definition": "participation_ratio"}}})
    assert {plot.title for plot in plots(told) if plot.name in ("wide_curve", "round_curve")} == {
        "Linear dimension (wide) along the layers",
        "Linear dimension (round) along the layers",
    }
    alone = replace(run, config={"metrics": {"wide": part}})
    assert "Linear dimension along the layers" in {plot.title for plot in plots(alone)}


def test_our_terms_agree_with_our_classes() -> None:
    for known in (INTRINSIC_DIMENSION, CLASS_SIMILARITY, LAYER_SIMILARITY):
        cls = components("metrics")[known.component]
        assert (known.low, known.high) == (cls.low, cls.high)
        assert known.is_dimension == (cls.unit == "dimensions")


def test_a_metric_that_we_do_not_know_describes_itself(plugin: None) -> None:
    found = term("foo", {"name": "foo"})
    assert found.axis == "foo (foos)"
    assert found.definition == "How <foo> a layer is. A second line of its docstring."
    assert found.reading == "Higher: more foo. Between -1 and 1."
    assert (found.low, found.high, found.short) == (-1.0, 1.0, "foo")
    dimension = term("count", {"name": "count"})
    assert (dimension.is_dimension, dimension.axis, dimension.short) == (True, "intrinsic dimension", "ID count")
    assert term("foo", {}).definition == "", "the control: without its class it is but a name"


def test_a_plug_ins_metric_has_its_curve_and_its_definition(plugin: None, make_run: MakeRun) -> None:
    settings = {
        "layers": list("abc"),
        "stages": None,
        "splits": ["test"],
        "training": False,
        "tables": ("layers", "metrics"),
    }
    folder = renamed(make_run(**settings), "nncs", "foo", "foo")
    assert "foo_curve.svg" in {path.name for path in render(folder)}
    page = (folder / "report.html").read_text()
    assert "How &lt;foo&gt; a layer is. A second line of its docstring." in page
    assert "Higher: more foo." in page
    run = load_run(folder)
    figure = curve(run, ["foo"])
    (axes,) = figure.axes
    assert axes.get_ylabel() == "foo (foos)"
    assert axes.get_ylim() == (-1.0, 1.04)
    drawn = {artist.get_gid(): artist for artist in axes.get_children() if artist.get_gid()}
    assert set(drawn["chance"].get_ydata()) == {0.0999}
    np.testing.assert_array_equal(drawn["series"].get_ydata(), run.tables.layers["foo"])
    assert len(axes.collections) == 1, "the band of standard errors"
    assert "accuracy" not in drawn, "that is for NNCS alone"


def test_what_a_class_says_is_part_of_what_is_drawn(
    plugin: None, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal tables whose metrics are other ones are not taken from each other's plots."""
    settings = {
        "layers": list("abc"),
        "stages": None,
        "splits": ["test"],
        "training": False,
        "tables": ("layers", "metrics"),
    }
    cache = tmp_path / "cache"
    foo, plain = renamed(make_run("a", **settings), "nncs", "foo", "foo"), make_run("b", **settings)
    renamed(plain, "nncs", "foo", "nncs")
    for folder in (foo, plain):
        render(folder, cache=cache)
    assert (foo / "tables/metrics.csv").read_bytes() == (plain / "tables/metrics.csv").read_bytes()
    before = (foo / "plots/foo_curve.png").read_bytes()
    assert before != (plain / "plots/foo_curve.png").read_bytes()
    monkeypatch.setattr(Foo, "unit", "bars")
    render(foo, cache=cache)
    assert (foo / "plots/foo_curve.png").read_bytes() != before


def test_a_metric_of_pairs_has_its_map_and_its_definition(plugin: None, make_run: MakeRun) -> None:
    run = make_run(
        layers=list("abc"), stages=None, splits=["test"], training=False, tables=("layers", "metrics", "nnls")
    )
    frame = read_table(run / "tables", "nnls")
    values = np.linspace(-1.0, 1.0, len(frame))
    pairs = frame.drop(columns="nnls").assign(metric="foo", value=values)
    write_table(pairs, run / "tables", "pairs")
    with (run / "config.yaml").open("a") as file:
        file.write("metrics: {foo: {name: foo}}\n")
    drawn = {plot.name: plot for plot in plots(load_run(run))}
    (image,) = drawn["pairs_foo_test"].draw().axes[0].images
    np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan).ravel(), values)
    assert image.get_clim() == (-1.0, 1.0)
    assert "pairs_foo_test.png" in {path.name for path in render(run)}
    assert "A second line of its docstring" in (run / "report.html").read_text()
