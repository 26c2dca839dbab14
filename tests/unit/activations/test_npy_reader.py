"""Files from elsewhere: whatever their bytes are, reading one ends in an array or one message; no code, no memory."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rra_cli.activations import npy
from rra_cli.activations.files import read_folder
from rra_cli.errors import UserError

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LIMIT = 4 << 20


def outcome(path: Path) -> np.ndarray | str:
    """The array as our reader opens it, or the reason why it does not; in bounded memory."""
    tracemalloc.start()
    try:
        return npy.open_map(path, npy.read_header(path))
    except npy.NpyError as error:
        return str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < LIMIT


def npy_bytes(header: bytes, data: bytes, version: tuple[int, int] = (1, 0), length: int | None = None) -> bytes:
    form = "<H" if version == (1, 0) else "<I"
    field = struct.pack(form, len(header) if length is None else length)
    return b"\x93NUMPY" + bytes(version) + field + header + data


@QUICK
@given(st.binary(max_size=300))
@example(b"\x93NUMPY")
@example(b"\x93NUMPY\x01\x00")
@example(npy_bytes(b"", b""))
@example(npy_bytes(b"{", b""))
@example(npy_bytes(b"(" * 9000, b""))
@example(npy_bytes(b"[" * 300 + b"]" * 300, b""))
@example(npy_bytes(b"-" * 9000 + b"1", b""))
@example(npy_bytes(b"'\\d' is 1", b""))
@example(npy_bytes(b"\xff\xfe", b"", (2, 0)))
def test_random_bytes(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(data)
    assert isinstance(outcome(tmp_path / "x.npy"), str)


SHAPES = st.one_of(
    st.lists(st.integers(-3, 1 << 62), max_size=5).map(tuple),
    st.sampled_from([(2, 4), 8, None, "(2, 4)", (2.0, 4), ("2", 4), (True, 8), ((2,), 4), [2, 4]]),
)
DESCRIPTIONS = st.sampled_from(
    ["<f4", "<f8", ">f4", "|u1", "O", "|O", "V8", "<U9999", "<U2147483647", "<M8[ns]", "<f3", "", "f4,O", 4, None]
) | st.sampled_from([[("a", "<f4")], [("a", "O")], ("<f4", (2,)), [("a", "<f4", (1 << 20,))], {"names": ["a"]}])
HEADERS = st.fixed_dictionaries(
    {}, optional={"descr": DESCRIPTIONS, "fortran_order": st.sampled_from([True, False, 0, "no"]), "shape": SHAPES}
)


@QUICK
@given(HEADERS, st.sampled_from([(1, 0), (2, 0), (3, 0), (9, 9)]), st.sampled_from([0, 31, 32, 64]))
@example({"descr": "<f4", "fortran_order": False, "shape": (2, 4)}, (1, 0), 32)
@example({"descr": "<f4", "fortran_order": False, "shape": (1 << 62, 1 << 62)}, (1, 0), 32)
@example({"descr": "O", "fortran_order": False, "shape": (4,)}, (1, 0), 32)
@example({"descr": ("<f4", (2,)), "fortran_order": True, "shape": (0,)}, (1, 0), 0)
def test_headers_that_lie(tmp_path: Path, header: dict[str, Any], version: tuple[int, int], size: int) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(npy_bytes(repr(header).encode() + b"\n", bytes(size), version))
    found = outcome(path)
    if isinstance(found, np.ndarray):
        # Whatever is opened is exactly what numpy itself reads, and no larger than the file.
        np.testing.assert_array_equal(found, np.load(path, allow_pickle=False))
        assert found.nbytes == size
        assert not found.dtype.hasobject


@QUICK
@given(
    hnp.arrays(
        st.sampled_from(["<f2", "<f4", ">f8", "u1", "<i8"]), hnp.array_shapes(max_dims=4, max_side=4), unique=False
    ),
    st.booleans(),
    st.data(),
)
def test_one_flipped_byte_never_shows_other_numbers_than_numpy(
    tmp_path: Path, array: np.ndarray, fortran: bool, data: st.DataObject
) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.asfortranarray(array) if fortran else array)
    np.testing.assert_array_equal(outcome(path), array)
    whole = bytearray(path.read_bytes())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(whole)
    found = outcome(path)
    if isinstance(found, np.ndarray) and not found.dtype.hasobject:
        np.testing.assert_array_equal(found, np.load(path, allow_pickle=False, max_header_size=npy.MAX_HEADER))


def test_a_header_length_that_lies_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(npy_bytes(b"", b"", (2, 0), length=(1 << 32) - 1))
    os.truncate(path, 1 << 33)  # a sparse file of 8 GiB
    assert outcome(path) == "has a damaged .npy header"


class Bomb:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["x", "labels"])
def test_pickles_are_never_loaded(tmp_path: Path, name: str) -> None:
    folder, trace = tmp_path / "acts", tmp_path / "exploded"
    folder.mkdir()
    np.save(folder / "good.npy", np.eye(3))
    np.save(folder / f"{name}.npy", np.array([Bomb(trace)] * 3, dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=f"{name}.npy holds Python objects, which are never opened because that could"):
        read_folder(folder)
    (folder / f"{name}.npy").write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(UserError, match=f"{name}.npy is not in .npy format"):
        read_folder(folder)
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    (folder / f"{name}.npy").write_bytes(buffer.getvalue() + pickle.dumps(Bomb(trace)))
    with pytest.raises(UserError, match=f"{name}.npy holds Python objects"):
        read_folder(folder)
    assert not trace.exists()
    # Negative control: whoever allows pickles does run it.
    np.save(folder / f"{name}.npy", np.array([Bomb(trace)], dtype=object), allow_pickle=True)
    for opened in np.load(folder / f"{name}.npy", allow_pickle=True):
        opened.close()
    assert trace.exists()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 3)])
def test_what_we_write_is_what_numpy_reads(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=(10, *shape)).astype(dtype)
    np.save(tmp_path / "numpy.npy", array)
    npy.create(tmp_path / "fixed.npy", array.shape, dtype)
    npy.create(tmp_path / "grown.npy", (0, *shape), dtype)
    for start in range(0, 10, 4):
        npy.write_rows(tmp_path / "fixed.npy", start, array[start : start + 4])
        npy.write_rows(tmp_path / "grown.npy", start, array[start : start + 4])
    # Until its header is complete, a growing file does not pass for an array.
    assert "more than one array in a file?" in str(outcome(tmp_path / "grown.npy"))
    npy.finish(tmp_path / "grown.npy", array.shape, dtype)
    for name in ("fixed", "grown"):
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), array)
        assert (tmp_path / f"{name}.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_the_length_of_a_header_does_not_depend_on_the_rows() -> None:
    for tail in [(1,), (16, 32, 32), (10**9,)]:
        assert len({len(npy.header_bytes((rows, *tail), "float32")) for rows in (0, 1, 10**6, 10**18)}) == 1
