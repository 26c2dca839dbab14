"""Readers of arrays, pictures, graphs and weights."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from holding import holding

from rra_cli.activations import npy
from rra_cli.activations.files import read_folder
from rra_cli.activations.layer_files import PROGRESS, _read_progress
from rra_cli.data.decoded import find_decoded
from rra_cli.data.idx_files import parse_idx
from rra_cli.data.picture_folder import _read_note
from rra_cli.data.pictures import Rendering, decode
from rra_cli.errors import UserError
from rra_cli.neighbors.io import load_graph
from rra_cli.neighbors.resume import _digest, read_state
from rra_cli.training.checkpoint import read_tensors


def an_array(content: bytes) -> None:
    with holding("x.npy", content) as folder, suppress(npy.NpyError):
        header = npy.read_header(folder / "x.npy")
        if header.shape and header.shape[0] and header.dtype.kind in "fiu":
            np.asarray(npy.open_map(folder / "x.npy", header)[:1])


def a_folder_of_activations(content: bytes) -> None:
    with holding("000_x.npy", content) as folder, suppress(UserError):
        read_folder(folder)


def labels(content: bytes) -> None:
    with holding("labels.npy", content) as folder, suppress(UserError):
        np.save(folder / "000_x.npy", np.zeros((4, 2), np.float32))
        read_folder(folder)


def a_picture(content: bytes) -> None:
    # Whatever a decoder raises becomes a line that names the file; a MemoryError does not.
    with warnings.catch_warnings(), suppress(OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError):
        warnings.simplefilter("ignore")
        decode(content, Rendering((3, 8, 8)))


def a_checkpoint(content: bytes) -> None:
    with holding("x.pt", content) as folder:
        try:
            read_tensors(folder / "x.pt")
        except MemoryError:
            raise
        except Exception:  # torch fails in many ways; whoever loads a file names it and says what to do
            return


def a_graph(content: bytes) -> None:
    with holding("graph.json", content) as folder, suppress(UserError, ValueError):
        np.save(folder / "indices.npy", np.zeros((2, 1), np.int32))
        np.save(folder / "distances.npy", np.zeros((2, 1)))
        load_graph(folder)


def the_state_of_a_search(content: bytes) -> None:
    """Whoever writes it writes its checksum, too."""
    with holding("lists_x.state", b"") as folder:
        path = folder / "lists_x.state"
        (digest := _digest(path)).update(content)
        path.write_bytes(content + digest.digest())
        read_state(path)


def hashes_of_pictures(content: bytes) -> None:
    with holding("x.json", content) as folder:
        assert all(len(entry) == 6 for entry in _read_note(folder / "x.json", Path("/x")).values())


def decoded_pictures(content: bytes) -> None:
    with holding("x.npy", content) as folder:
        found = find_decoded(folder / "x.npy", (2, 3))
        assert found is None or found.shape == (2, 3)


def an_idx_file(content: bytes) -> None:
    with suppress(UserError):
        assert parse_idx(content, (2, 3), Path("x")).shape == (2, 3)


def a_captures_progress(content: bytes) -> None:
    with holding(PROGRESS, content) as folder:
        assert isinstance(_read_progress(folder), dict)
