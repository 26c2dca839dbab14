"""Which plots a comparison has, what they are called, and its page and files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from compare_views import (
    DEEP,
    FLAT,
    correlated,
    diagonal_rows,
    diagonals,
    differences,
    nnls_rows,
    view,
)
from matplotlib.figure import Figure

from rra_cli.report.compare.page import comparison_html
from rra_cli.report.compare.plots import comparison_plots
from rra_cli.report.compare.rendering import write_comparison
from rra_cli.report.compare.tables import frame_of
from rra_cli.report.compare.view import View
from rra_cli.report.glossary import CLASS_SIMILARITY as NNCS
from rra_cli.report.glossary import term
from rra_cli.report.style import encode, styled


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with styled():
        yield


def whole() -> View:
    nnls = [
        *nnls_rows("within", "aug=none", "aug=none", DEEP, DEEP),
        *nnls_rows("between", "aug=none", "aug=rra", DEEP, DEEP),
    ]
    training = [{"group": "aug=none", "metric": "test_loss", "epoch": 0, "mean": 1.0, "n": 3}]
    shown = view(nnls=nnls, nnls_diagonal=diagonals(), nnls_differences=differences(), training=training)
    points = correlated().frames
    frames = {**shown.frames, **{name: points[name] for name in ("correlations", "correlation_points")}}
    return replace(shown, frames=frames, asked=(("nncs", "id"),))


def test_every_plot_has_a_name_of_its_own_and_equal_views_give_equal_bytes() -> None:
    shown = whole()
    plots = list(comparison_plots(shown))
    names = [plot.name for plot in plots]
    assert names == [
        "nncs_layers", "nnls_diagonal_last_test", "nnls_within_aug-none_last_test",
        "nnls_between_aug-none_aug-rra_last_test", "nncs_test_epochs", "training", "correlation_nncs_id",
    ]  # fmt: skip
    drawn = [plots[0].draw(), next(iter(comparison_plots(shown))).draw()]
    first, second = (encode(figure) for figure in drawn if figure is not None)
    assert first == second


def test_metrics_of_one_name_are_told_apart_in_titles() -> None:
    shown = view()
    layers = shown.frames["layers"]
    both = pd.concat([layers, layers.assign(metric="purity")], ignore_index=True)
    shown = replace(shown, frames={**shown.frames, "layers": both}, terms=dict.fromkeys(("nncs", "purity"), NNCS))
    titles = {plot.name: plot.title for plot in comparison_plots(shown) if plot.name.endswith("_layers")}
    assert titles == {
        f"{metric}_layers": f"Nearest-neighbour class similarity ({metric}) along the layers"
        for metric in ("nncs", "purity")
    }


def test_other_metrics_of_pairs_of_models_are_drawn_as_nnls_is() -> None:
    """With their own names on axes and files; what is empty is not written."""
    named = [{**row, "metric": "overlap"} for row in nnls_rows("within", "aug=none", "aug=none", DEEP, DEEP)]
    own = [{**row, "metric": "overlap"} for row in diagonals()]
    shown = view(pairs=named, pairs_diagonal=own, pairs_differences=differences())
    shown = replace(shown, terms={**shown.terms, "overlap": term("overlap", {})})
    plots = {plot.name: plot for plot in comparison_plots(shown)}
    assert {"overlap_diagonal_last_test", "overlap_within_aug-none_last_test"} <= set(plots)
    assert not any(name.startswith("nnls") for name in plots)
    assert "Neighbourhood overlap" in plots["overlap_diagonal_last_test"].caption
    figure = plots["overlap_within_aug-none_last_test"].draw()
    assert figure is not None
    assert "overlap, mean" in [axes.get_ylabel() for axes in figure.axes]
    diagonal = plots["overlap_diagonal_last_test"].draw()
    assert diagonal is not None
    assert diagonal.axes[0].get_ylabel() == "overlap"


def test_groups_whose_names_differ_by_odd_characters_alone_keep_their_own_files() -> None:
    rows = [row for name in ("lr=1", "lr:1") for row in nnls_rows("within", name, name, FLAT, FLAT)]
    shown = view(("lr=1", "lr:1"), nnls=rows)
    names = [plot.name for plot in comparison_plots(shown)]
    assert len(set(names)) == len(names)


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_tells_what_was_left_out_and_escapes_what_comes_from_outside() -> None:
    evil = "<script>alert(1)</script>"
    runs = [
        {"run": "a", "group": "aug=none", "seed": 0, "used": "yes"},
        {"run": evil, "used": "no", "reason": f"unfinished {evil}"},
    ]
    refused = [{"quantity": "NNLS", "group_a": "aug=none", "group_b": evil, "split": "test", "reason": evil}]
    groups = [{"group": "aug=none", "n": 1, "seeds": "0", "setting": evil, "value": evil}]
    made = view(("aug=none", evil), runs=runs, refused=refused)
    frames = {**made.frames, "groups": frame_of(groups, "groups")}
    text = comparison_html(replace(made, frames=frames, title=evil), [], ["tables/runs.csv"])
    page = Page(text)
    assert "script" not in page.tags
    told = " ".join(page.text)
    assert f"Run {evil} is left out: unfinished {evil}" in told
    assert "0.6" in told, "the mean of the last layer"
    assert "tables/runs.csv" in told


def test_an_earlier_comparisons_files_go_and_others_stay(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    small = view()
    write_comparison(small, folder)
    (folder / "plots" / "old.png").write_bytes(b"x")
    (folder / "tables" / "old.csv").write_bytes(b"x")
    (folder / "tables" / "notes.txt").write_text("mine")
    before = (folder / "report.html").read_bytes()
    paths = write_comparison(small, folder)
    assert (folder / "report.html").read_bytes() == before
    assert not (folder / "plots" / "old.png").exists()
    assert not (folder / "tables" / "old.csv").exists()
    assert (folder / "tables" / "notes.txt").read_text() == "mine"
    assert all(path.is_file() for path in paths)


def test_each_group_of_several_seeds_has_a_map_of_the_layers_of_one_model() -> None:
    rows = [
        {**row, "group": group, "n": n}
        for group, n in (("aug=none", 3), ("aug=rra", 1))
        for row in nnls_rows("", "", "", DEEP, DEEP)
    ]
    (plot,) = (each for each in comparison_plots(view(nnls_intra=rows)) if each.name.startswith("nnls_intra"))
    assert plot.name == "nnls_intra_aug-none_last_test", "one seed has its map in the run's own report"
    assert plot.title == "Layers of one model, aug=none, last, test"
    assert "over the seeds: 3" in plot.caption
    with styled():
        drawn = plot.draw()
    assert isinstance(drawn, Figure)
    image = drawn.axes[0].images[0].get_array()
    assert image is not None
    assert image[1, 2] == pytest.approx(1 / 3)


def test_one_network_on_differently_altered_data_is_not_called_different_models() -> None:
    pairs = list(nnls_rows("between", "a", "b", DEEP, DEEP))
    diagonal = list(diagonal_rows("between", "a", "b", DEEP))
    different = view(groups=["a", "b"], nnls=pairs, nnls_diagonal=diagonal)
    told = "the same network on differently altered data"
    same = replace(different, same={("a", "b"): told, ("b", "a"): told})
    text = {which: " ".join(f"{p.title} {p.caption}" for p in comparison_plots(v)) for which, v in
            (("different", different), ("same", same))}  # fmt: skip
    assert "different models" in text["different"]
    assert told not in text["different"]
    assert "different models" not in text["same"]
    assert "other models" not in text["same"]
    assert told in text["same"]
