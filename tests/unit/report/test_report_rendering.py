"""Rendering a run folder from its tables alone, and the page that comes out."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from rra_cli.errors import UserError
from rra_cli.report import figures as drawn_plots
from rra_cli.report import render
from rra_cli.report.tables.reading import read_table
from rra_cli.report.tables.schema import TABLES

MakeRun = Callable[..., Path]
SMALL: dict[str, Any] = {"layers": ["input", "conv", "logits"], "stages": None, "splits": ["test"]}
# Three plots, for what is rendered again and again.
TINY = SMALL | {"training": False, "tables": ("layers", "metrics", "nnls")}


class Page(HTMLParser):
    """Collects tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def names(paths: list[Path]) -> set[str]:
    return {path.name for path in paths}


def test_render_writes_every_plot_twice_and_a_report(make_run: MakeRun) -> None:
    run = make_run(**SMALL)
    paths = render(run)
    plots = {"id_curve", "nncs_curve", "nnls_test", "nnls_along", "mu_distribution_test", "twonn_fit_test"}
    plots |= {"training_curves"}
    assert names(paths) == {f"{plot}.{kind}" for plot in plots for kind in ("png", "svg")} | {"report.html"}
    assert all(path.is_file() and path.is_relative_to(run) for path in paths)


def test_render_needs_the_tables_alone(make_run: MakeRun) -> None:
    run = make_run(**SMALL)
    for name in ("training.jsonl", "config.yaml", "provenance.json"):
        (run / name).unlink()
    for parquet in (run / "tables").glob("*.parquet"):
        parquet.unlink()
    assert "training_curves.png" not in names(render(run))


def test_nothing_is_done_twice(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(**TINY)
    first = render(run)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in first}
    steps: list[int] = []
    assert render(run, lambda done, total, note: steps.append(done)) == first
    assert steps == []
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in first} == before
    # Negative controls: a lost file, a changed file and a changed table each bring it back.
    (run / "plots/id_curve.png").unlink()
    render(run)
    (run / "report.html").write_text("mine")
    render(run)
    assert {path: path.read_bytes() for path in first} == {path: content for path, (_, content) in before.items()}
    table = run / "tables/metrics.csv"
    table.write_text(table.read_text().replace("0.0999", "0.1999"))
    render(run)
    assert (run / "plots/nncs_curve.png").read_bytes() != before[run / "plots/nncs_curve.png"][1]


def test_plots_that_the_tables_no_longer_hold_are_removed_and_nothing_else(make_run: MakeRun) -> None:
    run = make_run(**TINY)
    render(run)
    (run / "plots/mine.png").write_bytes(b"kept")
    (run / "tables/nnls.csv").unlink()
    render(run)
    assert not (run / "plots/nnls_test.png").exists()
    assert (run / "plots/mine.png").exists()
    record = run / "plots/.rendered.json"
    record.write_text(record.read_text().replace("plots/id_curve.png", "plots/../tables/layers.csv"))
    render(run)
    assert (run / "tables/layers.csv").exists()


@pytest.mark.long
def test_equal_runs_share_drawn_plots(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    first, second, other = make_run("a", **TINY), make_run("b", **TINY), make_run("c", **TINY | {"empty": [1]})
    (second / "config.yaml").write_text("experiment: another\n")
    drawn: list[str] = []
    encode = drawn_plots.encode
    monkeypatch.setattr(drawn_plots, "encode", lambda figure: drawn.append("x") or encode(figure))
    written = render(first, cache=cache)
    count = len(drawn)
    copied = render(second, cache=cache)
    assert len(drawn) == count > 0
    assert [path.name for path in copied] == [path.name for path in written]
    for a, b in zip(written, copied, strict=True):
        assert (a.read_bytes() == b.read_bytes()) == (a.name != "report.html")
    render(other, cache=cache)
    assert len(drawn) > count
    # A damaged entry is drawn anew.
    (damaged,) = {path.parent for path in cache.glob("*/id_curve.png") if path.read_bytes() == written[0].read_bytes()}
    (damaged / "id_curve.png").write_bytes(b"")
    (second / "report.html").unlink()
    render(second, cache=cache)
    assert (second / "plots/id_curve.png").read_bytes() == (first / "plots/id_curve.png").read_bytes()


SHAPES: dict[str, dict[str, Any]] = {
    "one layer of a user's files": {
        **{"layers": ["input"], "stages": None, "splits": ["test"], "training": False, "labels": False},
        "checkpoints": [("", None)],
    },
    "many long names": TINY | {"layers": [f"encoder.stage{i}.block.conv_with_a_name" for i in range(60)]},
    "five checkpoints, classes": {
        **{"layers": ["a", "b", "c"], "stages": None, "splits": ["test"], "training": False, "per_class": 3},
        "tables": ("layers", "metrics", "nnls", "per_class", "class_neighbors"),
        "checkpoints": [(f"epoch_{e:04d}", e) for e in (0, 1, 2, 3)] + [("last", 3)],
    },
    "no value at all": {**TINY, "empty": [0, 1, 2]},
    "a name that is no text": {**TINY, "layers": ["$x$", "\u4e2d", "a\nb"]},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_run_renders(make_run: MakeRun, shape: str) -> None:
    paths = render(make_run(**SHAPES[shape]))
    assert "id_curve.png" in names(paths)
    labelled = "labels" not in SHAPES[shape]
    assert ("nncs_curve.png" in names(paths)) == labelled
    assert all(path.stat().st_size > 0 for path in paths)
    if "classes" in shape:
        wanted = {
            "id_twonn_milestones.svg",
            "nnls_milestones_test.svg",
            "nncs_per_class_test.svg",
            "class_neighbors_test.svg",
        }
        assert wanted <= names(paths)


def test_everything_from_outside_is_escaped_and_nothing_is_loaded(make_run: MakeRun) -> None:
    evil = "<script>alert(1)</script>"
    run = make_run(**TINY | {"layers": ["input", evil, '"><img src=x onerror=y>'], "empty": [1]})
    (run / "config.yaml").write_text(f"experiment: '{evil}'\nseed: 0\nmodel: {{name: '{evil}'}}\n")
    render(run)
    text = (run / "report.html").read_text()
    page = Page(text)
    tags = {tag for tag, _ in page.tags}
    assert tags.isdisjoint({"script", "link", "iframe", "object", "embed"})
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        source = attributes.get("src")
        assert source is None or (tag == "img" and source.startswith("data:image/"))
        target = attributes.get("href")
        assert target is None or not re.match(r"[a-z]+:|/", target)
    assert "url(" not in text
    assert any(evil in piece for piece in page.text)  # shown as text, rather than left out


def test_the_report_tells_what_was_run_what_came_out_and_what_is_missing(make_run: MakeRun) -> None:
    run = make_run(empty=[4], tables=("layers", "metrics"))
    (run / "tables/nnls.csv").write_text(",".join(TABLES["nnls"].columns) + "\n")
    render(run)
    text = " ".join(Page((run / "report.html").read_text()).text)
    for told in ("rra_cifar10", "resnet20 (shortcut=projection)", "train 15000, test 10000", "train 150, test 100"):
        assert told in text
    for told in ("all 15000 points coincide", "Facco et al. (2017)", "eq. 3.4", "eq. 3.2", "d = N / Σ log μ"):
        assert told in text
    values = read_table(run / "tables", "layers")["id_twonn"].dropna()
    assert all(f"{value:.4g}" in text for value in values)  # rounded for reading
    assert not any(repr(value) in text for value in values)
    for link in ("tables/layers.csv", "tables/metrics.parquet", "config.yaml"):
        assert link in text


@pytest.mark.long
def test_the_accuracy_of_unaltered_images_is_called_that(make_run: MakeRun) -> None:
    run = make_run(**SMALL)
    render(run)
    assert "unaltered" not in (run / "report.html").read_text()
    with (run / "config.yaml").open("a") as file:
        file.write("alter: {name: noise_mix, level: 1.0}\n")
    render(run)
    assert "accuracy (unaltered test images)" in (run / "report.html").read_text()


def test_links_point_to_what_is_there(make_run: MakeRun) -> None:
    run = make_run(**TINY)
    (run / "tables/.tmp-1-layers.csv").write_text("left by a killed process")
    render(run)
    links = {attributes["href"] for tag, attributes in Page((run / "report.html").read_text()).tags if tag == "a"}
    assert len(links) > 10
    assert not any("tmp" in str(link) for link in links)
    assert all((run / str(link)).is_file() for link in links)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("training.jsonl", '{"epoch": 0}\n{"ep'),
        ("training.jsonl", "[1]\n"),
        ("config.yaml", "a: [1"),
        ("provenance.json", "{"),
    ],
)
def test_a_damaged_file_is_named(make_run: MakeRun, name: str, content: str) -> None:
    run = make_run(**TINY)
    (run / name).write_text(content)
    with pytest.raises(UserError, match=re.escape(name)):
        render(run)
    assert not (run / "plots").exists()


def test_config_is_read_without_running_it(make_run: MakeRun) -> None:
    run = make_run(**TINY)
    (run / "config.yaml").write_text("experiment: !!python/object/apply:os.system ['touch pwned']\n")
    with pytest.raises(UserError, match=re.escape("config.yaml")):
        render(run)


def test_no_run_folder_is_the_users_fault(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a run folder"):
        render(tmp_path / "nowhere")


def test_importing_the_report_is_cheap() -> None:
    """`rra --help` imports the package: neither matplotlib nor pandas comes with it, and pyplot never."""
    code = (
        "import sys, rra_cli.report.plots;"
        "from rra_cli.report.tables import per_sample, reading, writing;"
        "assert not {'matplotlib', 'pandas', 'torch', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
