"""Values that leave no neighbourhood: not finite, constant, nothing but duplicates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rra_cli.activations import values as values_module
from rra_cli.activations.files import read_folder
from rra_cli.activations.values import check_values
from rra_cli.errors import UserError

N = 40


def good(dtype: str = "float32", shape: tuple[int, ...] = (6,)) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N, *shape)).astype(dtype)


def check(folder: Path, **arrays: np.ndarray) -> None:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    check_values(read_folder(folder).layers)


def refusal(folder: Path, **arrays: np.ndarray) -> str:
    with pytest.raises(UserError) as caught:
        check(folder, **arrays)
    assert caught.value.hint
    return caught.value.message.removeprefix(f"activations.path={folder}: ")


@pytest.fixture(autouse=True, params=[1, 1 << 20], ids=["row by row", "at once"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values_module, "_BLOCK_BYTES", request.param)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f8", "int8", "uint64"])
@pytest.mark.parametrize("shape", [(6,), (3, 2), (2, 3, 4)])
def test_good_values_pass(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    check(tmp_path, a=(good("float64", shape) * 30 + 100).astype(dtype))
    check(tmp_path, a=np.asfortranarray(good("float64", shape) * 30 + 100).astype(dtype))


def test_one_row_that_differs_is_enough(tmp_path: Path) -> None:
    """Rows may repeat as long as one is alone; and so may features."""
    array = np.repeat(good()[:1], N, axis=0)
    array[17, 3] += 1
    check(tmp_path, a=array)


def test_nan_and_infinity_are_counted(tmp_path: Path) -> None:
    array = good(shape=(3, 2))
    array[3, 1, :] = np.nan
    array[3, 2, 0] = np.inf
    array[39, 0, 0] = -np.inf
    assert refusal(tmp_path, a=array) == "a.npy holds NaN or infinity: 4 values in 2 of 40 rows"


def test_constant_layers(tmp_path: Path) -> None:
    message = "a.npy is constant: all 40 rows are equal, so no sample is nearer than another"
    assert refusal(tmp_path, a=np.repeat(good()[:1], N, axis=0)) == message
    zeros = np.zeros((N, 4), dtype=np.float32)
    zeros[::2] = -0.0  # equal values of other bytes
    assert refusal(tmp_path, a=zeros) == message
    assert refusal(tmp_path, a=np.full((N, 4), 7, dtype=np.uint8)) == message


def test_nothing_but_duplicates(tmp_path: Path) -> None:
    array = good()
    array[N // 2 :] = array[: N // 2]
    message = "a.npy holds nothing but duplicates: each of its 40 rows equals another (20 different ones)"
    assert refusal(tmp_path, a=np.random.default_rng(1).permutation(array)) == message
    # Negative control: a single bit makes two rows unique.
    array[0] = np.nextafter(array[0], np.float32(np.inf))
    check(tmp_path, a=array)


def test_all_layers_are_reported_together(tmp_path: Path) -> None:
    lines = refusal(tmp_path, a=good(), b=good() * np.nan, c=good() * 0).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["b.npy", "c.npy"]


def test_progress_counts_rows_of_all_layers(tmp_path: Path) -> None:
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", good())
    seen: list[tuple[int, int]] = []
    check_values(read_folder(tmp_path).layers, lambda done, total, note: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (2 * N, 2 * N)
