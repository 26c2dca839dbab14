"""Values by sample, written layer by layer: hundreds of millions of rows take the memory of one layer's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core import files
from rra_cli.report.tables.frames import place, text_of
from rra_cli.report.tables.schema import PER_SAMPLE, PER_SAMPLE_PAIRS, TEXT, WHOLE, Table

if TYPE_CHECKING:
    import pyarrow as pa

# Blocks are gathered until a row group has so many rows: a footer entry per small layer would outgrow the data.
_GROUP_ROWS = 1 << 17


@dataclass(frozen=True, eq=False)
class Block:
    """A metric's values of the samples of one layer, or of one pair of layers.

    constants: what all of its rows share, by column. sample_ids: `(n,)`, each once. values: `(n,)` float64, NaN where
    a sample has none.
    """

    constants: Mapping[str, Any]
    sample_ids: NDArray[np.int64]
    values: NDArray[np.float64]


def in_order(blocks: Iterable[Block]) -> list[Block]:
    """The blocks in the order in which other tables have their layers, however they were computed."""
    return sorted(blocks, key=lambda block: place(block.constants))


def write_per_sample(blocks: Iterable[Block], folder: Path, metric: str, *, pairs: bool = False) -> Path:
    """Writes `per_sample/<metric>.parquet`: `sample_id`, the columns that name the layer, k and `value`.

    Blocks are taken one at a time and keep their order (see `in_order`); within one, rows go by sample id. pairs: the
    metric belongs to pairs of layers, which are named by the columns of nnls.csv. Raises ValueError where `metric` is
    no plain name, columns are missing, unknown or no numbers, or rows repeat; the file is then left as it was.
    """
    import pyarrow.parquet as pq

    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", metric):
        raise ValueError(f"{metric!r} is no plain name to call a file by")
    table = PER_SAMPLE_PAIRS if pairs else PER_SAMPLE
    path = folder / "per_sample" / f"{metric}.parquet"
    # A file of ours, so that a full disk is reported like any other.
    with (
        files.replacing(path) as temporary,
        open(temporary, "xb") as file,
        pq.ParquetWriter(file, _schema(table)) as writer,
    ):
        for group in _groups(_checked(blocks, table, metric), table):
            writer.write_table(group, row_group_size=len(group))
    return path


def _checked(blocks: Iterable[Block], table: Table, metric: str) -> Iterator[Block]:
    """The blocks, each with all columns and no row that another one has."""
    wanted = set(table.columns) - {"sample_id", "value"}
    seen: set[tuple[Any, ...]] = set()
    for block in blocks:
        missing = sorted(wanted - set(block.constants) - table.optional)
        unknown = sorted(set(block.constants) - wanted)
        if missing or unknown:
            raise ValueError(f"values by sample of {metric!r}: missing columns {missing}, unknown columns {unknown}")
        if block.sample_ids.shape != block.values.shape:
            raise ValueError(f"{block.values.shape} values of {metric!r} by {block.sample_ids.shape} sample ids")
        key = tuple(block.constants.get(column) for column in table.key if column != "sample_id")
        if key in seen or len(np.unique(block.sample_ids)) != len(block.sample_ids):
            raise ValueError(f"values by sample of {metric!r} would hold two rows for {dict(block.constants)}")
        seen.add(key)
        yield block


def _groups(blocks: Iterable[Block], table: Table) -> Iterator[pa.Table]:
    """Row groups of whole blocks."""
    import pyarrow as pa

    gathered: list[pa.Table] = []
    for block in blocks:
        gathered.append(_rows(block, table))
        if sum(map(len, gathered)) >= _GROUP_ROWS:
            yield pa.concat_tables(gathered)
            gathered = []
    if gathered:
        yield pa.concat_tables(gathered)


def _rows(block: Block, table: Table) -> pa.Table:
    """The block as rows, by sample id."""
    import pyarrow as pa

    order = np.argsort(block.sample_ids, kind="stable")
    # -0.0 becomes 0.0: equal values, equal bytes. NaN becomes null.
    measured = {
        "sample_id": pa.array(block.sample_ids[order], pa.int64()),
        "value": pa.array(block.values[order] + 0.0, pa.float64(), from_pandas=True),
    }
    schema = _schema(table)
    columns = [
        measured[field.name]
        if field.name in measured
        else pa.repeat(_constant(block.constants.get(field.name), field), len(order))
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _constant(value: Any, field: pa.Field) -> pa.Scalar:
    import pyarrow as pa

    try:
        return pa.scalar(text_of(value) if field.name in TEXT else value, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"column {field.name!r} holds {value!r}, which is no number: {error}") from error


def _schema(table: Table) -> pa.Schema:
    import pyarrow as pa

    def kind(column: str) -> pa.DataType:
        return pa.string() if column in TEXT else pa.int64() if column in WHOLE else pa.float64()

    return pa.schema([(column, kind(column)) for column in table.columns])
