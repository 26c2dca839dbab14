"""Input that cannot be used: exit 2, one message with what is wrong, nothing half-written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from shell import assert_refused, refused
from user_files import own, write

from rra_cli.__main__ import main

pytestmark = pytest.mark.long

Refused = Callable[..., str]


@pytest.fixture
def refused_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """`refused` in this process, for the many cases: a new one costs seconds."""

    def give(arguments: list[str], outputs: Path, *words: str, ran: bool = False) -> str:
        monkeypatch.setenv("RRA_OUTPUTS", str(outputs))
        code = main(["run", *arguments])
        return assert_refused(code, "".join(capsys.readouterr()), outputs, *words, ran=ran)

    return give


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["+experiment=quickstrat"], ["quickstrat", "quickstart"]),
        (["experiment=quickstrat"], ["quickstrat", "quickstart"]),
        (["+experiment=quickstart", "model=resnet2O"], ["resnet2O", "resnet20"]),
        (["+experiment=quickstart", "metrics=rar"], ["rar", "rra"]),
        (["+experiment=quickstart", "dataset=mnits"], ["mnits", "mnist"]),
        (["+experiment=quickstart", "optimizer=adm"], ["adm", "adam"]),
        (["+experiment=quickstart", "neighbors.kk=5"], ["kk", r"\bk\b"]),
        (["+experiment=quickstart", "+method.epoch=5"], ["epoch", "epochs"]),
        (["+experiment=quickstart", "method.epochs=many"], ["epochs", "many", "int|number"]),
        (["+experiment=quickstart", "method.epochs=1.5"], ["epochs", r"1\.5"]),
        (["+experiment=quickstart", "neighbors.k=0"], [r"\bk\b", "0"]),
        (["+experiment=quickstart", "metrics.id_twonn.fit=mel"], ["mel", "mle"]),
        (["+experiment=quickstart", "dataset.n_samples=5000"], ["5000|5,000"]),
        (["+experiment=quickstart", "neighbors.k=1797", "method.epochs=1"], ["1797|1,797", r"\bk\b"]),
        (["+experiment=quickstart", "runtime.device=gpu"], ["gpu", "cuda|cpu"]),
        (["+experiment=quickstart", "method.epochs="], ["epochs"]),
        (["+experiment=quickstart", "method.epochs=[1"], ["epochs"]),
        ([], ["experiment"]),
    ],
    ids=lambda value: " ".join(value) if value and ("=" in str(value[0]) or not value) else "",
)
def test_config_faults(arguments: list[str], words: list[str], tmp_path: Path, refused_here: Refused) -> None:
    refused_here(arguments, tmp_path / "outputs", *words)


def test_several_faults_are_reported_together(tmp_path: Path) -> None:
    refused(
        ["+experiment=quickstart", "method.epochs=many", "neighbors.k=-3", "seed=abc"],
        tmp_path / "outputs", "many", "-3", "abc",
    )  # fmt: skip


def test_no_config_runs_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By override and by an experiment file of the user's own; the control is that a harmless file of hers is read."""
    witness = tmp_path / "witness"
    refused(
        ["+experiment=quickstart", f"+hydra.callbacks.x={{_target_: os.mkdir, path: {witness}}}"],
        tmp_path / "outputs", "hydra.callbacks|_target_",
    )  # fmt: skip
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    harmless = "# @package _global_\ndefaults:\n  - quickstart\nseed: 4711\n"
    (folder / "evil.yaml").write_text(
        f"{harmless}hydra:\n  callbacks:\n    x:\n      _target_: pathlib.Path.mkdir\n      self: {witness}\n"
    )
    refused(["--config-dir", str(tmp_path / "conf"), "+experiment=evil"], tmp_path / "outputs", "callbacks|_target_")
    assert not witness.exists()
    (folder / "evil.yaml").write_text(harmless)
    monkeypatch.setenv("RRA_OUTPUTS", str(tmp_path / "outputs"))
    assert main(["run", "--config-dir", str(tmp_path / "conf"), "+experiment=evil", "--cfg", "job"]) == 0
    assert "seed: 4711" in capsys.readouterr().out


def test_cuda_that_is_absent(activations: Path, tmp_path: Path) -> None:
    refused(
        own(activations, "neighbors.k=4", "runtime.device=cuda"),
        tmp_path / "outputs", "cuda", ran=True, CUDA_VISIBLE_DEVICES="",
    )  # fmt: skip


def test_data_that_is_missing_says_which_files_and_where(tmp_path: Path) -> None:
    refused(
        ["+experiment=quickstart", "dataset=mnist", "model=lenet5", f"dataset.root={tmp_path}/none",
         "dataset.download=false"],
        tmp_path / "outputs", "idx3-ubyte", "none/MNIST/raw|none", ran=True,
    )  # fmt: skip


def test_folder_of_activations_that_is_not_there(tmp_path: Path, refused_here: Refused) -> None:
    refused_here(own(tmp_path / "nothing", "neighbors.k=4"), tmp_path / "outputs", "nothing", ran=True)
    (tmp_path / "empty").mkdir()
    refused_here(own(tmp_path / "empty", "neighbors.k=4"), tmp_path / "outputs", "empty", r"\.npy", ran=True)
    refused_here(
        ["+experiment=from_activations", "neighbors.k=4"], tmp_path / "outputs", r"activations\.path", ran=True
    )


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.path),))


def bad_folders(
    arrays: dict[str, np.ndarray], root: Path
) -> dict[str, tuple[dict[str, np.ndarray], list[str], list[str]]]:
    """Name of the case: the arrays, the words of the message, the overrides."""
    good, labels, k = arrays["flat"], arrays["labels"], ["neighbors.k=4"]
    nan, infinite = good.copy(), good.copy()
    nan[[3, 3, 9], [0, 1, 2]] = np.nan
    infinite[5, 2] = np.inf
    bomb = np.array([Bomb(root / "exploded")], dtype=object)
    copies = np.tile(good[:1], (60, 1))
    return {
        "NaN": ({"a": good, "worse": nan}, ["worse", r"\b[23]\b", "nan|finite"], k),
        "infinity": ({"a": good, "worse": infinite}, ["worse", r"\b1\b", "inf|finite"], k),
        "rows differ": ({"a": good, "shorter": good[:59]}, ["shorter|a", "60", "59"], k),
        "labels differ": ({"a": good, "labels": labels[:50]}, ["labels", "60", "50"], k),
        "k too large": ({"a": good}, ["60", r"\bk\b"], ["neighbors.k=60"]),
        "object": ({"a": good, "bomb": bomb}, ["bomb", "object|pickle"], k),
        "string": ({"a": good, "words": np.array([["x"] * 7] * 60)}, ["words", "string|text|<U|str"], k),
        "string labels": ({"a": good, "labels": np.array(["x"] * 60)}, ["labels", "string|text|<U|str|integer"], k),
        "empty": ({"a": good[:0]}, [r"\ba\b", "0|empty"], k),
        "one class": ({"a": good, "labels": labels * 0}, ["class"], k),
        "constant": (
            {"a": good, "flatline": np.ones((60, 5), np.float32)},
            ["flatline", "constant|identical|equal"],
            k,
        ),
        "all duplicates": ({"a": good, "copies": copies}, ["copies", "constant|identical|duplicate|equal"], k),
        "complex": ({"a": good.astype(complex)}, [r"\ba\b", "complex"], k),
        "one row": ({"a": good[:1]}, [r"\b1\b"], ["neighbors.k=1"]),
        "two dimensions too many": ({"a": good[:, :, None, None, None]}, [r"\ba\b", r"\(60, 7, 1, 1, 1\)|5"], k),
    }


CASES = [
    "NaN", "infinity", "rows differ", "labels differ", "k too large", "object", "string", "string labels", "empty",
    "one class", "constant", "all duplicates", "complex", "one row", "two dimensions too many",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_files(case: str, arrays: dict[str, np.ndarray], tmp_path: Path, refused_here: Refused) -> None:
    content, words, overrides = bad_folders(arrays, tmp_path)[case]
    folder = write(tmp_path / "files", content)
    refused_here(own(folder, *overrides), tmp_path / "outputs", *words, ran=True)
    assert not (tmp_path / "exploded").exists(), "a pickle was opened"


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"this is no array at all" * 100], ids=["empty", "cut", "text"])
def test_unreadable_files(content: bytes, arrays: dict[str, np.ndarray], tmp_path: Path, refused_here: Refused) -> None:
    folder = write(tmp_path / "files", {"a": arrays["flat"]})
    (folder / "broken.npy").write_bytes(content)
    refused_here(own(folder, "neighbors.k=4"), tmp_path / "outputs", "broken", ran=True)


def test_truncated_file(arrays: dict[str, np.ndarray], tmp_path: Path, refused_here: Refused) -> None:
    folder = write(tmp_path / "files", {"a": arrays["flat"], "torn": arrays["maps"]})
    torn = folder / "torn.npy"
    torn.write_bytes(torn.read_bytes()[:-100])
    refused_here(own(folder, "neighbors.k=4"), tmp_path / "outputs", "torn", ran=True)


def test_run_folder_that_cannot_be_written(activations: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    arguments = own(activations, "neighbors.k=4", f"hydra.run.dir={tmp_path}/file/run")
    refused(arguments, tmp_path / "outputs", "file/run|file", ran=True)
    (tmp_path / "taken").write_text("")
    refused(own(activations, "neighbors.k=4"), tmp_path / "taken" / "outputs", "taken", ran=True)
