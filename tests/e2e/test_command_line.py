"""From the shell: a plug-in, the README as it stands, a network that collapses, and two processes with one store."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PLUGIN = REPOSITORY / "tests" / "plugin_example"
README = (REPOSITORY / "README.md").read_text()

# Seconds of work: a small net on some of the digits.
TINY = [
    "+experiment=quickstart", "method.epochs=1", "method.milestones=[]", "method.batch_size=32",
    "dataset.train_size=300", "dataset.n_samples=100", "neighbors.k=5", "runtime.device=cpu",
]  # fmt: skip


def environment(outputs: Path, **extra: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HYDRA_", "RRA_"))}
    return kept | {"RRA_OUTPUTS": str(outputs), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"} | extra


# The command without the drawing of plots, which takes longer than such a run and has tests of its own.
PLAIN = """
import sys
from rra_cli import pipeline
from rra_cli.__main__ import main
pipeline.render = lambda *args, **kwargs: []
sys.exit(main(sys.argv[1:]))
"""


def rra(*arguments: str, outputs: Path, cwd: Path | None = None, **extra: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PLAIN] if arguments[0] == "run" else [sys.executable, "-m", "rra_cli"]
    return subprocess.run(
        [*command, *arguments], env=environment(outputs, **extra), cwd=cwd, capture_output=True, text=True, timeout=240
    )


def run_folders(outputs: Path) -> list[Path]:
    return sorted(path for path in outputs.glob("[0-9]*-[0-9]*-[0-9]*/*") if path.is_dir())


def table(run: Path, name: str) -> list[dict[str, str]]:
    with (run / "tables" / f"{name}.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


# A plug-in


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed example; on PYTHONPATH it is what `pip install` leaves in site-packages."""
    folder = tmp_path_factory.mktemp("plugin") / "site"
    code = (
        "import sys; from pathlib import Path; from install_example import install_example as f; f(Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, cwd=PLUGIN)
    return folder


@pytest.mark.long
def test_a_plug_ins_model_is_used_like_ours(site: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    done = rra("run", *TINY, "model=example_net", "model.width=4", outputs=outputs, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr[-3000:]
    (run,) = run_folders(outputs)
    rows = [row for row in table(run, "layers") if row["split"] == "test"]
    assert [(row["layer"], row["n_features"]) for row in rows] == [
        ("input", "64"), ("conv", "256"), ("gap", "4"), ("logits", "10"),
    ]  # fmt: skip
    assert "name: example_net" in (run / "config.yaml").read_text()


def test_a_plug_ins_model_is_listed_with_what_it_says_of_itself(site: Path, tmp_path: Path) -> None:
    listed = rra("ls", "model", outputs=tmp_path, PYTHONPATH=str(site))
    assert listed.returncode == 0, listed.stderr
    (line,) = [line for line in listed.stdout.splitlines() if "example_net" in line]
    assert len(line.split()) > 5, "a name without a description"
    assert "resnet20" in listed.stdout


def test_without_the_plug_in_its_model_is_unknown(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    assert "example_net" not in rra("ls", "model", outputs=outputs).stdout
    done = rra("run", *TINY, "model=example_net", outputs=outputs)
    assert done.returncode == 2
    assert "there is no 'example_net'" in done.stderr
    assert not outputs.exists()


# The README


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Every `rra ...` line of the shell blocks, without comments and folder names that exist on one machine only."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("rra ")]


@pytest.mark.long
def test_the_readmes_python_example_runs_and_its_folder_goes_through_the_pipeline(tmp_path: Path) -> None:
    (example,) = blocks("python")
    script = tmp_path / "example.py"
    script.write_text(example)
    done = subprocess.run(
        [sys.executable, script.name], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # What it prints is what its comments say: 9.05 is also the published dimension of these digits.
    promised = [re.findall(r"\d+\.\d+", line.partition("#")[2]) for line in example.splitlines() if "print(" in line]
    assert [re.findall(r"\d+\.\d+", line) for line in done.stdout.splitlines()] == promised
    assert promised[0][0] == "9.05"
    files = sorted(path.name for path in (tmp_path / "my_layers").glob("*.npy"))
    assert files == ["000_input.npy", "001_0.npy", "002_1.npy", "003_2.npy", "labels.npy"]

    (command,) = [words for words in commands() if "activations.path=my_layers" in words]
    outputs = tmp_path / "outputs"
    again = rra(*command[1:], outputs=outputs, cwd=tmp_path)
    assert again.returncode == 0, again.stderr[-3000:]
    (run,) = run_folders(outputs)
    rows = table(run, "layers")
    assert [row["layer"] for row in rows] == ["input", "0", "1", "2"]
    assert f"{float(rows[0]['id_twonn']):.2f}" == promised[0][0]
    assert f"{float(rows[0]['nncs']):.3f}" == promised[1][0]


def test_every_command_of_the_readme_is_understood(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs and plans compose; sweeps are examined as they would be before their first job; others exist."""
    from rra_cli.__main__ import main
    from rra_cli.config import catalog
    from rra_cli.config.compose import examine
    from rra_cli.config.overrides import check

    monkeypatch.setenv("RRA_OUTPUTS", str(tmp_path / "outputs"))
    found = commands()
    assert {words[1] for words in found} >= {"run", "plan", "ls", "report", "doctor"}
    assert len(found) >= 8
    for _, command, *arguments in found:
        if command in ("run", "plan") and "-m" in arguments:
            overrides = [argument for argument in arguments if argument != "-m"]
            assert examine(check(overrides, catalog.options(), sweep=True), ()) is not None
        elif command in ("run", "plan"):
            assert main(["run", *arguments, "--cfg", "job"]) == 0, arguments
            examine(check(arguments, catalog.options(), sweep=False), ())
        else:
            assert main([command, "--help"]) == 0, command
    assert not (tmp_path / "outputs").exists()
    capsys.readouterr()


def test_options_that_the_readme_mentions_in_its_text_compose() -> None:
    """`model=resnet20 seed=1` between backquotes; `group=choice`, `key=value` and capitals are placeholders."""
    from rra_cli.config.compose import load

    text = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    spans = [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", text)]
    mentioned = [span.split() for span in spans if re.match(r"[a-z_.]+=[^A-Z ]", span)]
    mentioned = [words for words in mentioned if not {"group=choice", "key=value"} & set(words)]
    assert mentioned, "the text shows how options are given"
    for overrides in mentioned:
        load(["experiment=rra_cifar10", *overrides])


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (REPOSITORY / target).exists(), target


# A network that collapses


@pytest.mark.long
def test_a_collapsed_network_is_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A huge step kills all ReLUs: layers are constant, values are empty with their reason, the run goes on.

    In this process, so that a warning of numpy or matplotlib on the way would be an error.
    """
    from rra_cli.__main__ import main

    outputs = tmp_path / "outputs"
    monkeypatch.setenv("RRA_OUTPUTS", str(outputs))
    dead = ["model=mlp", "model.width=32", "model.depth=2", "optimizer=sgd", "optimizer.lr=3.0"]
    assert main(["run", *TINY, *dead, "optimizer.schedule=constant", "metrics.per_sample=true"]) == 0
    told = capsys.readouterr().err
    assert re.search(r"warning: id_twonn of hidden2 .* no value, all 100 rows have a duplicate", told)
    (run,) = run_folders(outputs)
    rows = table(run, "metrics")
    for row in rows:
        alive = row["layer"] == "input"
        assert bool(row["value"]) == bool(row["std_error"]) == alive, row
        assert bool(row["reason"]) == (not alive), row
    assert {row["layer"] for row in rows} == {"input", "hidden1", "hidden2", "logits"}
    assert {row["metric"] for row in rows} == {"id_twonn", "nncs"}
    assert all(not row["id_twonn"] and not row["nncs"] for row in table(run, "layers") if row["layer"] != "input")
    for row in table(run, "nnls"):
        assert bool(row["nnls"]) == (row["layer_a"] == row["layer_b"] == "input"), row
        assert bool(row["reason"]) != bool(row["nnls"])
    assert (run / "report.html").stat().st_size > 1000
    assert "no value" in (run / "run.log").read_text()


# Two processes


@pytest.mark.long
def test_two_processes_with_one_store_train_once(tmp_path: Path) -> None:
    """Both end well with equal tables; every stage was executed by one of them, and the other waited for it."""
    outputs = tmp_path / "outputs"
    arguments = [*TINY, "method.epochs=12", "model=mlp", "model.width=64", "runtime.progress=lines"]
    command = [sys.executable, "-c", PLAIN, "run", *arguments]
    processes = [
        subprocess.Popen(command, env=environment(outputs), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    try:
        texts = [process.communicate(timeout=200)[0] for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(texts)
    first, second = run_folders(outputs)
    for name in ("layers", "metrics", "nnls", "mu"):
        assert (first / "tables" / f"{name}.csv").read_bytes() == (second / "tables" / f"{name}.csv").read_bytes(), name
    assert (first / "training.jsonl").read_bytes() == (second / "training.jsonl").read_bytes()
    logged = "\n".join((run / "run.log").read_text() for run in (first, second))
    ended = Counter(re.findall(r"rra_cli: (train .*|capture .*|graph .*): done in", logged))
    assert [title for title in ended if title.startswith("train ")]
    assert {title: count for title, count in ended.items() if count > 1} == {}
    assert not list((outputs / "store").rglob("*.work"))
    assert not (outputs / "store" / "damaged").exists()
