"""A user's folder of activations: what is read, in which order, and one clear message for everything else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rra_cli.activations.files import open_layer, read_folder
from rra_cli.activations.naming import layer_file, layer_name
from rra_cli.activations.pooling import Pooling
from rra_cli.errors import UserError

RNG = np.random.default_rng(0)
N = 12


def layer(*shape: int, dtype: str = "float32") -> np.ndarray:
    return RNG.normal(size=(N, *(shape or (4,)))).astype(dtype)


def save(folder: Path, **arrays: np.ndarray) -> Path:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=True)
    return folder


def refusal(folder: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        read_folder(folder)
    assert caught.value.hint
    assert str(folder) in caught.value.message
    return caught.value


def test_a_folder_is_read(tmp_path: Path) -> None:
    arrays = {"000_input": layer(3, 4, 4), "001_tokens": layer(5, 2), "002_out": layer(7)}
    labels = np.arange(N) % 4
    save(tmp_path, **arrays, labels=labels)
    user = read_folder(str(tmp_path))
    assert [found.name for found in user.layers] == ["input", "tokens", "out"]
    assert [found.index for found in user.layers] == [0, 1, 2]
    assert (user.n_samples, user.n_classes) == (N, 4)
    assert [path.name for path in user.paths] == ["000_input.npy", "001_tokens.npy", "002_out.npy", "labels.npy"]
    np.testing.assert_array_equal(user.labels, labels)
    for found, array in zip(user.layers, arrays.values(), strict=True):
        np.testing.assert_array_equal(open_layer(found, Pooling()), array.reshape(N, -1))
        assert found.n_features(Pooling()) == array[0].size
    assert [found.n_features(Pooling("cls")) for found in user.layers] == [48, 2, 7]


def test_labels_are_optional(tmp_path: Path) -> None:
    user = read_folder(save(tmp_path, a=layer()))
    assert user.labels is None
    assert user.n_classes is None
    assert [path.name for path in user.paths] == ["a.npy"]


def test_order_and_names(tmp_path: Path) -> None:
    for name in ["10_c", "2_b", "002_a", "e", "d", "123", "7_", "3_x%2Fy", "4_100%"]:
        save(tmp_path, **{name: layer()})
    (tmp_path / "._2_b.npy").write_bytes(b"resource fork")
    (tmp_path / "notes.txt").write_text("")
    found = [found.name for found in read_folder(tmp_path).layers]
    assert found == ["a", "b", "x/y", "100%", "c", "123", "7_", "d", "e"]


@pytest.mark.parametrize("name", ["layer1.0.conv1", "relu@2", "a/b", ".hidden", "100%", "%41", "ä b", "x_1", "7_x"])
def test_names_survive_the_way_through_a_file_name(name: str) -> None:
    file_name = layer_file(7, name)
    assert file_name.startswith("007_")
    assert "/" not in file_name
    assert layer_name(file_name.removesuffix(".npy")) == name


@pytest.mark.parametrize("pool", ["none", "cls", "mean", "last"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", "uint8", "int16", "int32", "int64"])
def test_values_pooled_and_chosen_equal_plain_numpy(tmp_path: Path, dtype: str, order: str, pool: str) -> None:
    for name, shape in {"flat": (4,), "tokens": (3, 4), "map": (2, 3, 4)}.items():
        array = np.asarray(RNG.integers(0, 99, size=(N, *shape)), dtype=dtype, order=order)  # type: ignore[call-overload]
        np.save(tmp_path / f"{name}.npy", array)
        plain = array.astype("float64")
        if name == "tokens" and pool != "none":
            plain = {"cls": plain[:, 0], "last": plain[:, -1], "mean": plain.mean(axis=1)}[pool]
        found = next(found for found in read_folder(tmp_path).layers if found.name == name)
        rows = np.array([7, 0, 3])
        for values, expected in [
            (open_layer(found, Pooling(pool)), plain.reshape(N, -1)),  # type: ignore[arg-type]
            (open_layer(found, Pooling(pool), rows), plain.reshape(N, -1)[rows]),  # type: ignore[arg-type]
        ]:
            assert values.dtype.kind == "f"
            assert values.dtype.isnative
            assert values.dtype.itemsize == {"uint8": 4, "int16": 4, "int32": 8}.get(dtype, np.dtype(dtype).itemsize)
            np.testing.assert_allclose(values, expected, rtol=1e-3 if dtype == "float16" else 1e-6)


@pytest.mark.parametrize("pool", ["none", "cls", "last"])
def test_floats_are_views_of_the_file(tmp_path: Path, pool: str) -> None:
    save(tmp_path, a=layer(3, 4))
    values = open_layer(read_folder(tmp_path).layers[0], Pooling(pool))  # type: ignore[arg-type]
    base = values
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)
    assert not values.flags.writeable


def test_symbolic_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    save(tmp_path / "real", a=layer())
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "000_b.npy").symlink_to(tmp_path / "real" / "a.npy")
    (tmp_path / "folder").symlink_to(tmp_path / "links")
    assert [found.name for found in read_folder(tmp_path / "folder").layers] == ["b"]
    (tmp_path / "real" / "a.npy").unlink()
    assert "000_b.npy cannot be read: No such file or directory" in refusal(tmp_path / "links").message


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array(["a", "b"]), "x.npy holds strings; expected float16, float32, float64 or integers"),
        (np.array([b"a", b"b"]), "x.npy holds strings; expected float16, float32, float64 or integers"),
        (layer().astype(complex), "x.npy holds complex numbers; expected float16, float32, float64 or integers"),
        (layer() > 0, "x.npy holds booleans; expected"),
        (np.zeros(3, dtype=[("a", float)]), "x.npy holds records; expected"),
        (np.zeros(3, dtype="M8[s]"), "x.npy holds datetime64[s]; expected"),
        (layer().astype(np.longdouble), "x.npy holds float128; expected"),
        (np.array([[1, "a"]], dtype=object), "x.npy holds Python objects, which are never opened because that could"),
        (np.zeros(5), "x.npy has shape (5,); expected (n, features), (n, tokens, features) or (n, c, h, w)"),
        (np.zeros(()), "x.npy has shape (); expected (n, features)"),
        (np.zeros((2, 1, 1, 1, 1)), "x.npy has shape (2, 1, 1, 1, 1); expected"),
        (np.zeros((0, 3)), "x.npy has no rows (shape (0, 3))"),
        (np.zeros((3, 0)), "x.npy has no features (shape (3, 0))"),
        (np.zeros((3, 2, 0)), "x.npy has no features (shape (3, 2, 0))"),
    ],
)
def test_arrays_that_are_no_layers(tmp_path: Path, array: np.ndarray, message: str) -> None:
    save(tmp_path, x=array)
    assert refusal(tmp_path).message.startswith(f"activations.path={tmp_path}: {message}")


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").message.endswith("none does not exist")
    assert refusal(tmp_path).message.endswith("is empty; expected .npy files, one per layer")
    save(tmp_path, labels=np.arange(3))
    (tmp_path / "a.npz").write_bytes(b"")
    assert refusal(tmp_path).message.endswith("holds no layer: labels.npy, a.npz; expected .npy files, one per layer")
    assert refusal(tmp_path / "a.npz").message.endswith("is a file, expected a folder")


def damaged(path: Path, kind: str) -> None:
    whole = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(whole[:-3])
    elif kind == "header cut":
        path.write_bytes(whole[:20])
    elif kind == "nothing":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("1,2,3\n")
    elif kind == "zip":
        np.savez(path.with_suffix(""), a=np.zeros(3))
        os.replace(path.with_suffix(".npz"), path)
    elif kind == "lying":
        path.write_bytes(whole.replace(b"(12, 4)", b"(10000000, 4000)").replace(b" " * 9 + b"\n", b"\n"))
    elif kind == "twice":
        path.write_bytes(whole + whole)
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "pipe":
        path.unlink()
        os.mkfifo(path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "x.npy is damaged: (12, 4) float32 takes 320 bytes, the file has 317 (a copy that was cut off?)"),
        ("header cut", "x.npy ends within its .npy header (a copy that was cut off?)"),
        ("nothing", "x.npy is empty (0 bytes)"),
        ("text", "x.npy is not in .npy format"),
        ("zip", "x.npy is not in .npy format"),
        ("lying", "x.npy is damaged: (10000000, 4000) float32 takes 160,000,000,128 bytes, the file has 320 (a copy"),
        (
            "twice",
            "x.npy is damaged: (12, 4) float32 takes 320 bytes, the file has 640 (more than one array in a file?)",
        ),
        ("folder", "x.npy is not a regular file"),
        ("pipe", "x.npy is not a regular file"),
    ],
)
def test_unreadable_files(tmp_path: Path, kind: str, message: str) -> None:
    save(tmp_path, x=layer())
    damaged(tmp_path / "x.npy", kind)
    assert refusal(tmp_path).message.startswith(f"activations.path={tmp_path}: {message}")


def test_rows_that_differ_name_both(tmp_path: Path) -> None:
    save(tmp_path, a=layer(), b=layer()[:7], c=layer())
    assert refusal(tmp_path).message.endswith("layers differ in their number of rows: a.npy has 12, but b.npy 7")


def test_names_that_are_the_same_without_their_prefix(tmp_path: Path) -> None:
    save(tmp_path, **{"000_a": layer(), "001_a": layer()})
    assert refusal(tmp_path).message.endswith("two files are the layer 'a': 000_a.npy and 001_a.npy")


def test_all_faults_are_reported_together(tmp_path: Path) -> None:
    save(tmp_path, a=layer(), b=layer() > 0, c=layer()[:7], labels=np.zeros(3))
    (tmp_path / "d.npy").write_bytes(b"")
    lines = refusal(tmp_path).message.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["b.npy", "d.npy", "layers", "labels.npy"]


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int32", "float32", "float64", "bool"])
def test_labels_of_any_whole_numbers(tmp_path: Path, dtype: str) -> None:
    labels = (np.arange(N) % 2).astype(dtype)
    user = read_folder(save(tmp_path, a=layer(), labels=labels))
    assert user.labels is not None
    assert user.labels.dtype == np.int64
    np.testing.assert_array_equal(user.labels, np.arange(N) % 2)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(N - 1), "labels.npy has shape (11,); expected (12,), one for each row of the layers"),
        (np.zeros((N, 3)), "labels.npy has shape (12, 3); expected (12,), one for each row of the layers"),
        (np.array(["cat"] * N), "labels.npy holds <U3; expected one class number for each sample"),
        (np.array([None] * N), "labels.npy holds Python objects, which are never opened because that could run code"),
        (np.arange(N) / 2, "labels.npy holds 0.5; expected whole numbers, one class for each sample"),
        (np.full(N, np.nan), "labels.npy holds nan; expected whole numbers, one class for each sample"),
        (np.arange(N) - 1, "labels.npy holds -1; expected class numbers from 0 on"),
        (
            np.full(N, 2**64 - 1, dtype=np.uint64),
            "labels.npy holds 18446744073709551615; expected class numbers from 0 on",
        ),
        (np.full(N, 3), "labels.npy holds one class only (3); expected at least two"),
        (np.zeros(0, dtype=int), "labels.npy has shape (0,); expected (12,), one for each row of the layers"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, labels: np.ndarray, message: str) -> None:
    save(tmp_path, a=layer(), labels=labels)
    error = refusal(tmp_path)
    assert error.message == f"activations.path={tmp_path}: {message}"
    assert "labels.astype('int64')" in (error.hint or "")


def test_reading_files_does_not_import_torch() -> None:
    """`rra --help` and metrics on a user's files start without it."""
    code = """
import sys
import rra_cli.activations.files, rra_cli.activations.pooling, rra_cli.activations.values
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
