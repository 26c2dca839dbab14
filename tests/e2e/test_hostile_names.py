"""Layers, classes and run folders may be called anything: in the tables, plots and pages they are text, and no path."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

pytestmark = pytest.mark.long

NAMES = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg onload='alert(1)'>",
    "&lt;b&gt;",
    "$\\frac{1}{$",
    "$x$",
    "{{7*7}} ${jndi:ldap:x} %s %n",
    "../../../../outside",
    "/etc/passwd",
    "a\nb\r\tc",
    "\x1b[2J\x1b]0;owned\x07",
    "NA",
    "null",
    "=cmd|' /C calc'!A0",
    "x" * 200,
    "한글 العربية \u202eabc 😀",
)


class Page(HTMLParser):
    """What a browser would act on."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed", "form", "base", "link"):
            self.found.append(tag)
        for name, value in attrs:
            if name.startswith("on") or "javascript:" in (value or "").lower():
                self.found.append(f"{tag} {name}={value}")


def acted_on(path: Path) -> list[str]:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page.found


def rra(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HYDRA_", "RRA_"))}
    return subprocess.run(
        [sys.executable, "-m", "rra_cli", *arguments],
        env=kept | {"RRA_OUTPUTS": str(folder / "outputs"), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )


def listed(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on layers of these names."""
    folder = tmp_path_factory.mktemp("names")
    layers = folder / "layers"
    layers.mkdir()
    for index, name in enumerate(NAMES):
        points = np.random.default_rng(index).normal(size=(40, 3)).astype(np.float32)
        # As `rra_cli.capture` names them; a user's own names are only what a file system allows.
        stem = quote(name, safe="._-@+ ") if len(quote(name)) < 200 else name
        np.save(layers / f"{index:03d}_{stem}.npy", points)
    np.save(layers / "labels.npy", np.arange(40) % 3)
    before = listed(folder)
    done = rra(folder, "run", "+experiment=from_activations", f"activations.path={layers}", "neighbors.k=4")
    assert done.returncode == 0, done.stderr
    made = listed(folder) - before
    assert all(name == "outputs" or name.startswith("outputs/") for name in made), made
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", done.stdout + done.stderr), "a terminal would obey that"
    (run,) = (path.parent for path in (folder / "outputs").glob("*-*-*/*/config.yaml"))
    return run


def test_the_page_holds_nothing_that_a_browser_would_act_on(ran: Path) -> None:
    assert acted_on(ran / "report.html") == []
    text = (ran / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert not any("<script" in path.read_text(encoding="utf-8") for path in (ran / "plots").glob("*.svg"))


def test_the_control_sees_what_a_browser_would_act_on(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("<p onclick='x'><script>1</script><a href='javascript:x'>")
    assert acted_on(tmp_path / "page") == ["p onclick=x", "script", "a href=javascript:x"]


def test_the_tables_hold_the_names_as_they_are(ran: Path) -> None:
    import csv

    with (ran / "tables" / "layers.csv").open(newline="", encoding="utf-8") as file:
        assert [row["layer"] for row in csv.DictReader(file)] == list(NAMES)


def test_files_are_called_by_plain_names_in_the_run_folder(ran: Path) -> None:
    for path in ran.rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9_.=-]+", path.name), path


def test_a_strangers_run_folder_is_drawn_into_itself_alone(ran: Path, tmp_path: Path) -> None:
    """Its experiment's name, its provenance and its tables are his; and his `plots` leads somewhere else."""
    mine = tmp_path / "run"
    shutil.copytree(ran, mine)
    name = "</title><script>alert(1)</script>"
    config = (mine / "config.yaml").read_text()
    (mine / "config.yaml").write_text(re.sub(r"experiment: .*", f"experiment: '{name}'", config))
    provenance = json.loads((mine / "provenance.json").read_text())
    (mine / "provenance.json").write_text(json.dumps({**provenance, "python": name, "git": {"commit": name}}))
    table = mine / "tables" / "metrics.csv"
    table.write_text(table.read_text().replace(",nncs,", f",{name},"))
    done = rra(tmp_path, "report", str(mine))
    assert done.returncode == 0, done.stderr
    assert acted_on(mine / "report.html") == []
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.rmtree(mine / "plots")
    (mine / "plots").symlink_to(outside)
    done = rra(tmp_path, "report", str(mine))
    assert done.returncode == 2
    assert "is a link, behind which nothing is written" in done.stderr
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))),
        ("config.yaml", "a: !!python/object/apply:os.mkdir [exploded]\n"),
        ("provenance.json", "[" * 100_000),
        ("tables/layers.csv", "checkpoint,epoch\n1\n"),
        ("tables/metrics.csv", "\x00" * 1000),
        ("training.jsonl", '{"epoch": 1e999}\n'),
        ("training.jsonl", '{"epoch": ' + "[" * 100_000),
    ],
)
def test_a_strangers_files_that_cannot_be_read_are_named(ran: Path, tmp_path: Path, name: str, content: str) -> None:
    mine = tmp_path / "run"
    shutil.copytree(ran, mine)
    (mine / name).write_text(content)
    done = rra(tmp_path, "report", str(mine))
    assert done.returncode == 2, done.stderr
    assert name.rpartition("/")[2] in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "exploded").exists()


def test_a_layer_whose_name_is_no_text_is_refused_or_shown(tmp_path: Path) -> None:
    """A file system takes any bytes for a name."""
    layers = tmp_path / "layers"
    layers.mkdir()
    for index in range(2):
        np.save(layers / f"{index:03d}_a{index}.npy", np.random.default_rng(index).normal(size=(40, 3)))
    try:
        os.rename(layers / "001_a1.npy", os.fsencode(layers) + b"/001_\xff\xfe.npy")
    except OSError:
        pytest.skip("this file system takes text only")
    done = rra(tmp_path, "run", "+experiment=from_activations", f"activations.path={layers}", "neighbors.k=4")
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr
