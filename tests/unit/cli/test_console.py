"""What a person sees: reporters, tables, errors; and that nobody's text is taken for markup."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from command import write_layers
from rich.console import Console

from rra_cli import console, reporters
from rra_cli.cli.summary import PIPE_WIDTH, show_summary, summary_tables
from rra_cli.errors import ConfigError, UserError


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("mode", "stream", "kind"),
    [
        ("auto", io.StringIO, "_Lines"),
        ("auto", Terminal, "_Bars"),
        ("bars", io.StringIO, "_Bars"),
        ("lines", Terminal, "_Lines"),
        ("none", Terminal, "_Silent"),
    ],
)
def test_the_reporter_fits_to_who_watches(
    mode: reporters.Mode, stream: type[io.StringIO], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    assert type(reporters.make_reporter(mode)).__name__ == kind


@pytest.mark.parametrize("mode", ["bars", "lines", "none"])
def test_every_reporter_writes_the_log(
    mode: reporters.Mode, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter = reporters.make_reporter(mode)
    with caplog.at_level(logging.INFO, "rra_cli"):
        with reporter.task("train [red]x[/red]") as progress:
            progress(0, 10, "")
            progress(10, 10, "loss 0.1")
        reporter.note("a note")
        reporter.warn("a warning")
        with pytest.raises(RuntimeError), reporter.task("broken"):
            raise RuntimeError
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "train [red]x[/red] ..."
    assert messages[1].startswith("train [red]x[/red]: done in ")
    assert messages[2:5] == ["a note", "a warning", "broken ..."]
    assert messages[5].startswith("broken: ended by RuntimeError after ")
    assert [record.levelname for record in caplog.records][3] == "WARNING"
    shown = capsys.readouterr()
    assert shown.out == ""
    if mode == "none":
        assert shown.err == ""
    else:
        assert "train [red]x[/red]" in shown.err
        assert "a note" in shown.err
        assert "a warning" in shown.err
        assert "broken: done" not in shown.err


@pytest.mark.parametrize("mode", ["lines", "bars"])
def test_a_warning_is_shown_once_where_no_log_is_open(mode: str) -> None:
    """In a process of its own: Python shows by itself what is logged where nobody listens."""
    code = f"from rra_cli.reporters import make_reporter; make_reporter({mode!r}).warn('it is damaged')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("it is damaged") == 1


def test_lines_are_few(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    monkeypatch.setattr("rra_cli.reporters.time.monotonic", lambda: now)
    with reporters.make_reporter("lines").task("train") as progress:
        for done in range(1, 101):
            now = float(done)
            progress(done, 100, f"loss {1 / done:.2f}")
    assert capsys.readouterr().err.splitlines() == [
        "train: 30/100, 1:10 left, loss 0.03",
        "train: 60/100, 40 s left, loss 0.02",
        "train: 90/100, 10 s left, loss 0.01",
        "train: done in 1:40",
    ]


def test_the_time_left_of_a_resumed_task_does_not_count_what_was_done_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("rra_cli.reporters.time.monotonic", lambda: now)
    with reporters.make_reporter("lines").task("train") as progress:
        progress(900, 1000, "")
        now = 40.0
        progress(940, 1000, "")
    assert capsys.readouterr().err.splitlines()[0] == "train: 940/1000, 1:00 left"


@pytest.mark.parametrize("mode", ["bars", "lines"])
def test_a_short_task_within_another_is_not_worth_a_line(
    mode: reporters.Mode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter = reporters.make_reporter(mode)
    with reporter.task("graphs"):
        with reporter.task("short"):
            pass
        monkeypatch.setattr(reporters, "SHORT_SECONDS", 0.0)
        with reporter.task("long"):
            pass
    err = capsys.readouterr().err
    assert ("graphs" in err, "short" in err, "long" in err) == (True, False, True)


def test_a_task_that_takes_its_time_announces_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import time

    monkeypatch.setattr(reporters, "SHORT_SECONDS", 0.01)
    with reporters.make_reporter("lines").task("graph"):
        time.sleep(0.2)
    assert capsys.readouterr().err.splitlines()[0] == "graph ..."


def test_bars_show_remaining_time_and_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(reporters, "stderr", lambda: Console(file=stream, force_terminal=True, width=120))
    reporter = reporters.make_reporter("bars")
    with reporter.task("outer") as outer, reporter.task("inner") as inner:
        outer(1, 4, "loss 0.412")
        inner(1, 2, "")
        reporter._bars.refresh()  # type: ignore[attr-defined]
    for word in ("outer", "inner", "loss 0.412", "25%", "left", "✓"):
        assert word in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (12.2, "12 s"),
        (59.8, "1:00"),
        (187, "3:07"),
        (7387, "2:03:07"),
        (90061, "25:01:01"),
    ],
)
def test_clock(seconds: float, text: str) -> None:
    assert reporters.clock(seconds) == text


def test_an_error_is_one_message_with_its_hint_on_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_error(UserError("there is no [x] " + "long " * 60, "do [/y]"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["error: there is no [x] " + "long " * 60, "hint: do [/y]"]
    console.show_error(ConfigError(["a: b", "c: d"]))
    assert capsys.readouterr().err.splitlines() == ["2 errors:", "  a: b", "  c: d"]
    console.show_error(UserError("another configuration:\n  seed: 3, not 4"))
    assert capsys.readouterr().err.splitlines() == ["error: another configuration:", "  seed: 3, not 4"]


def test_a_bug_shows_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("[red]x[/red]")
    except ValueError as error:
        console.show_bug(error)
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "ValueError: [red]x[/red]" in err
    assert "a fault of rra" in err


def test_summary_shows_the_last_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_layers(tmp_path / "tables" / "layers.csv")
    (tmp_path / "report.html").write_text("")
    show_summary(tmp_path)
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert "last (train: n = 100, k = 5, test: n = 50, k = 5)" in out
    # nncs_chance is empty everywhere, so it has no column.
    assert ["id_twonn", "id_twonn", "nncs", "nncs"] in rows
    assert ["layer", "train", "test", "train", "test"] in rows
    assert ["0", "input", "2.00", "2.50", "0.250", "0.250"] in rows
    assert ["1", "logits", "12.00", "12.50", "0.250", "0.250"] in rows
    assert f"run folder: {tmp_path}" in out
    assert "report.html" in out


def test_summary_shows_no_chance_levels(tmp_path: Path) -> None:
    """A chance level is known by the metric beside it: a metric that is itself called so is shown."""
    row = {"checkpoint": "last", "split": "test", "layer": "input", "index": "0", "pool": "none", "scale": "1"}
    row |= {"epoch": "0", "subset": "0", "n_samples": "9", "n_features": "4", "k": "2", "stage": "s"}
    (shown,) = summary_tables([{**row, "nncs": "0.5", "nncs_chance": "0.1", "pure_chance": "0.2"}])
    assert [str(column.header) for column in shown.columns] == ["layer", "nncs", "pure_chance"]


def test_summary_leaves_windows_to_the_tables_where_there_is_something_else() -> None:
    row = {"checkpoint": "last", "split": "test", "layer": "conv", "index": "0", "subset": "0", "n_samples": "9"}
    row |= {"epoch": "0", "n_features": "4", "k": "2", "stage": "s", "nncs": "0.5"}
    plain, coarse = ({**row, "pool": pool, "scale": scale} for pool, scale in (("none", "1"), ("avg", "0")))
    for rows, names in (([plain, coarse], ["0 conv"]), ([coarse], ["0 conv [avg_global]"])):
        (shown,) = summary_tables(rows)
        assert [str(cell) for cell in shown.columns[0].cells] == names


def test_a_wide_summary_goes_on_below_with_the_layers_again(capsys: pytest.CaptureFixture[str]) -> None:
    """Every metric once, in its order; where all fits there is one table: the control."""
    row = {"checkpoint": "last", "split": "test", "layer": "input", "index": "0", "pool": "none", "scale": "1"}
    row |= {"epoch": "0", "subset": "0", "n_samples": "9", "n_features": "4", "k": "2", "stage": "s"}
    metrics = {f"a_metric_of_a_long_name_{number}": "0.5" for number in range(12)}
    for width in (PIPE_WIDTH, 50, 1):
        tables = summary_tables([{**row, **metrics}], width=width)
        headers = [[str(column.header) for column in table.columns] for table in tables]
        assert [name for header in headers for name in header[1:]] == list(metrics)
        assert {header[0] for header in headers} == {"layer"}
        for table in tables:
            console.show(table)
        widest = max(map(len, capsys.readouterr().out.splitlines()))
        assert widest <= width or all(len(header) == 2 for header in headers)
    assert len(summary_tables([{**row, **metrics}], width=1000)) == 1


def test_summary_of_a_run_without_tables_is_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_summary(tmp_path)
    assert capsys.readouterr().out == f"run folder: {tmp_path}\n"


def test_summary_shows_intervals_no_zero_errors_and_how_many_samples_a_value_is_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = "checkpoint,epoch,split,layer,index,pool,scale,subset,n_samples"
    places = [f"last,1,test,{layer},{at},none,1,0,1000" for at, layer in enumerate(("input", "conv", "logits"))]
    rows = [f"{header},n_features,k,nncs", *(f"{place},9,5,1.0" for place in places)]
    beside = ["0.01,1000,0.9,1.0", "0.0,815,,", "0.02,990,,"]  # an interval; an error of 0; a plain error
    told = [f"{place},5,nncs,1.0,{more}" for place, more in zip(places, beside, strict=True)]
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "layers.csv").write_text("\n".join(rows) + "\n")
    columns = f"{header},k,metric,value,std_error,n_used,low,high"
    (tmp_path / "tables" / "metrics.csv").write_text("\n".join([columns, *told]) + "\n")
    show_summary(tmp_path)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "0 input 1.000 [0.900, 1.000]" in lines
    assert "1 conv 1.000" in lines
    assert "2 logits 1.000 ± 0.020" in lines
    assert "nncs: in some layers of 815 to 990 of the 1,000 samples alone (n_used in tables/metrics.csv)" in lines
