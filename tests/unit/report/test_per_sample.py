"""Values by sample: what goes in comes out by sample id, and however many rows there are, few are in memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rra_cli.report.tables.per_sample import Block, in_order, write_per_sample
from rra_cli.report.tables.schema import COMMON, PAIR


def block(values: Any = (0.5, 1.5), ids: Any = None, **changes: Any) -> Block:
    constants = {
        **{"checkpoint": "last", "epoch": 3, "split": "test", "layer": "input", "index": 0, "pool": "none"},
        **{"scale": 1, "subset": 0, "n_samples": 100, "k": 5},
        **changes,
    }
    values = np.asarray(values, np.float64)
    return Block(constants, np.arange(len(values)) if ids is None else np.asarray(ids), values)


def test_values_are_kept_by_sample_id(tmp_path: Path) -> None:
    path = write_per_sample([block([4 / 3, np.nan, -0.0], [4, 2, 7])], tmp_path, "nncs")
    assert path == tmp_path / "per_sample/nncs.parquet"
    read = pq.read_table(path)
    assert read.column_names == ["sample_id", *COMMON, "k", "value", "engine", "recall", "dataset"]
    assert read.schema.field("layer").type == pa.string()
    assert {read.schema.field(name).type for name in ("sample_id", "epoch", "index", "k")} == {pa.int64()}
    assert read["sample_id"].to_pylist() == [2, 4, 7]
    assert read["value"].to_pylist() == [None, 4 / 3, 0.0]
    assert not np.signbit(read["value"].to_numpy()[2]), "zero has no sign"
    assert read["layer"].to_pylist() == ["input"] * 3
    assert read["epoch"].to_pylist() == [3] * 3
    files = write_per_sample([block(epoch=None)], tmp_path, "files")
    assert pq.read_table(files)["epoch"].to_pylist() == [None, None]


def test_pairs_are_named_by_both_sides(tmp_path: Path) -> None:
    sides = {column: 1 if column.startswith("scale") else f"{column}!" for column in PAIR}
    constants = {**sides, "subset": 0, "n_samples": 2, "k": 5}
    path = write_per_sample([Block(constants, np.arange(2), np.ones(2))], tmp_path, "nnls", pairs=True)
    read = pq.read_table(path)
    assert read.column_names[:-4] == ["sample_id", *PAIR, "subset", "n_samples", "k", "value"]
    assert read.column_names[-4:] == ["engine_a", "recall_a", "engine_b", "recall_b"]
    assert read["layer_b"].to_pylist() == ["layer_b!"] * 2
    with pytest.raises(ValueError, match="unknown columns"):
        write_per_sample([Block(constants, np.arange(2), np.ones(2))], tmp_path, "nnls")


def test_no_row_is_written_twice(tmp_path: Path) -> None:
    path = write_per_sample([block(), block(layer="conv"), block(k=6)], tmp_path, "nncs")
    before = path.read_bytes()
    for blocks in ([block(ids=[3, 3])], [block(), block(layer="conv"), block([9.0, 9.0], [8, 9])]):
        with pytest.raises(ValueError, match="two rows"):
            write_per_sample(blocks, tmp_path, "nncs")
        assert path.read_bytes() == before
    assert [found.name for found in path.parent.iterdir()] == [path.name], "nothing half-written is left"


def test_what_is_no_row_is_refused(tmp_path: Path) -> None:
    for name in ("../nncs", "a/b", "", "..", "c:d"):
        with pytest.raises(ValueError, match="plain name"):
            write_per_sample([block()], tmp_path, name)
    with pytest.raises(ValueError, match=r"unknown columns \['seconds'\]"):
        write_per_sample([block(seconds=1)], tmp_path, "nncs")
    with pytest.raises(ValueError, match=r"\(2,\) values of 'nncs' by \(3,\) sample ids"):
        write_per_sample([block(ids=[1, 2, 3])], tmp_path, "nncs")
    with pytest.raises(ValueError, match="'k' holds 'many'"):
        write_per_sample([block(k="many")], tmp_path, "nncs")


def test_layers_stand_as_in_other_tables_however_they_were_computed(tmp_path: Path) -> None:
    blocks = [
        block(layer=f"l{at}", index=at, split=split, epoch=epoch, checkpoint=f"epoch_{epoch:04d}")
        for epoch in (0, 10)
        for split in ("train", "test")
        for at in (0, 2, 10)
    ]
    shuffled = [blocks[at] for at in np.random.default_rng(0).permutation(len(blocks))]
    assert shuffled != blocks
    assert in_order(shuffled) == blocks
    first = write_per_sample(in_order(blocks), tmp_path / "a", "nncs")
    second = write_per_sample(in_order(shuffled), tmp_path / "b", "nncs")
    assert first.read_bytes() == second.read_bytes()
    # Negative control: the order matters, and so does the last bit.
    assert write_per_sample(shuffled, tmp_path / "c", "nncs").read_bytes() != first.read_bytes()
    blocks[3] = block([0.5, np.nextafter(1.5, 2)], **{**blocks[3].constants})
    assert write_per_sample(blocks, tmp_path / "d", "nncs").read_bytes() != first.read_bytes()


def test_two_million_rows_take_the_memory_of_a_few_layers(tmp_path: Path) -> None:
    """Blocks are taken one by one: earlier ones are gone, and Arrow holds a row group rather than the table."""
    rows, count = 20_000, 100
    alive: list[weakref.ref[Any]] = []
    most_blocks, most_bytes, before = 0, 0, pa.total_allocated_bytes()

    def layers() -> Iterator[Block]:
        nonlocal most_blocks, most_bytes
        for at in range(count):
            values = np.full(rows, float(at))
            alive.append(weakref.ref(values))
            yield block(values, layer=f"layer {at}", index=at)
            del values
            gc.collect(0)
            most_blocks = max(most_blocks, sum(ref() is not None for ref in alive))
            most_bytes = max(most_bytes, pa.total_allocated_bytes() - before)

    path = write_per_sample(layers(), tmp_path, "nncs")
    file = pq.ParquetFile(path)
    assert file.metadata.num_rows == rows * count
    assert 2 <= file.metadata.num_row_groups <= 20, "neither one for all nor one a layer"
    assert most_blocks <= 8
    assert most_bytes < 50e6
    whole = file.read()
    assert whole.nbytes > 2 * 50e6, "the control: the table itself is larger than that"
    assert whole["value"].to_numpy().sum() == rows * sum(range(count))
