"""Labellings of the measured samples beside their classes: what can be seen in a picture, or a column of a user's."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.hashing import file_hash
from rra_cli.data import attributes
from rra_cli.data.cifar100 import Cifar100
from rra_cli.data.dataset import Split
from rra_cli.errors import UserError, did_you_mean
from rra_cli.metrics.label_overlap import LabelOverlap
from rra_cli.stages.files import UserFiles
from rra_cli.stages.images import Images
from rra_cli.stages.measure import Labelling

CLASS, SUPERCLASS = "class", "superclass"
PICTURES: Mapping[str, Callable[[NDArray[np.uint8]], NDArray[Any]]] = {
    "luminance": attributes.luminance,
    "contrast": attributes.contrast,
    "hue": attributes.dominant_hue,
}
SAMPLE, SPLIT = "sample_id", "split"


def labelling_of(
    key: str, metric: LabelOverlap, data: Images | UserFiles, split: Split, classes: Labelling | None
) -> Labelling | None:
    """The labelling that a metric asks for, of the measured samples of a split; None where there are no classes.

    key: the metric's column, for messages. Raises `UserError` for a labelling that the data does not have. A file is
    read here; whether it has all samples shows when the labels are read.
    """
    wanted, where = metric.labelling, f"metrics.{key}.labelling"
    if metric.file is not None:
        return _from_file(key, metric, data, split)
    if wanted == CLASS:
        return classes
    if wanted not in (*PICTURES, SUPERCLASS):
        known = did_you_mean(wanted, [CLASS, SUPERCLASS, *PICTURES])
        raise UserError(
            f"{where} is {wanted!r}, which does not come with rra: {known}",
            f"for a column of your own give metrics.{key}.file=FILE.csv with the columns {SAMPLE} and {wanted}",
        )
    if (
        not isinstance(data, Images)
        or not data.dataset.pictures
        or (wanted == SUPERCLASS and not isinstance(data.dataset, Cifar100))
    ):
        of = "of pictures" if wanted in PICTURES else "of CIFAR-100"
        raise UserError(
            f"{where} is {wanted!r}, a labelling {of}, but dataset={data.dataset.name}",
            f"give it as a column of your own: metrics.{key}.file=FILE.csv with the columns {SAMPLE} and {wanted}",
        )
    identity = {"labelling": wanted, "version": attributes.VERSION}
    if wanted == SUPERCLASS:
        return Labelling(identity, cache(partial(_superclasses, data, split)))
    return Labelling(identity, cache(partial(_of_pictures, data, split, wanted)))


def _of_pictures(images: Images, split: Split, wanted: str) -> NDArray[Any]:
    return PICTURES[wanted](images.measured(split).images)


def _superclasses(images: Images, split: Split) -> NDArray[Any]:
    assert isinstance(images.dataset, Cifar100)
    return replace(images.dataset, labels="coarse").load(split).labels[images.sample_ids(split)]


def _from_file(key: str, metric: LabelOverlap, data: Images | UserFiles, split: Split) -> Labelling:
    assert metric.file is not None
    path = Path(metric.file).expanduser()
    values = read_column(path, metric.labelling, split)
    identity = {"column": metric.labelling, "file": file_hash(path)}

    def labels() -> NDArray[Any]:
        ids = data.sample_ids(split)
        lacking = [int(sample) for sample in ids if int(sample) not in values]
        if lacking:
            raise UserError(
                f"{path} has no {metric.labelling} for {len(lacking):,} of the {len(ids):,} measured samples of the "
                f"{split} split, such as {SAMPLE} {lacking[0]}",
                f"give every sample a row, or leave metrics.{key} out; ids are positions in the whole split",
            )
        return typed([values[int(sample)] for sample in ids], f"column {metric.labelling} of {path}")

    return Labelling(identity, cache(labels))


def read_column(path: Path, column: str, split: Split) -> dict[int, str]:
    """The texts of one column of a CSV file by `sample_id`; of rows of that split, where there is a column `split`.

    Raises `UserError` where the file cannot be read, lacks a column, repeats a sample or has an id that is no number.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = list(reader.fieldnames or [])
            for needed in (SAMPLE, column):
                if needed not in header:
                    raise UserError(
                        f"{path} has no column {needed!r}: {did_you_mean(needed, header)}",
                        f"its first line names the columns: {SAMPLE}, {column} and, where both are measured, {SPLIT}",
                    )
            found: dict[int, str] = {}
            for number, row in enumerate(reader, 2):
                if SPLIT in header and row[SPLIT] != split:
                    continue
                sample = int(row[SAMPLE])
                if row[column] is None:
                    raise ValueError(f"row {number} has fewer cells than the header")
                if sample in found:
                    raise ValueError(
                        f"row {number} has {SAMPLE} {sample} a second time"
                        + ("" if SPLIT in header else f" (a column {SPLIT} tells train from test)")
                    )
                found[sample] = row[column].strip()
    except (OSError, ValueError, TypeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"{path} cannot be read as a table of samples: {reason}",
            f"it must be CSV in UTF-8 with the columns {SAMPLE} (whole numbers) and {column}",
        ) from error
    return found


def typed(texts: list[str], what: str) -> NDArray[Any]:
    """Numbers with a point are a quantity, float64; whole numbers and words are categories, int64 codes.

    Raises `UserError` for empty cells, and for a quantity that is not finite.
    """
    if any(not text for text in texts):
        raise UserError(f"{what} has {sum(not text for text in texts):,} empty cells", "give every sample a value")
    try:
        numbers = np.array([float(text) for text in texts])
    except ValueError:
        return np.unique(texts, return_inverse=True)[1].astype(np.int64)
    if not np.isfinite(numbers).all():
        raise UserError(f"{what} holds a number that is not finite", "give every sample a value")
    if all(text.lstrip("+-").isdecimal() for text in texts):
        # As whole numbers: as floats, long ids of different things would be one.
        codes = {number: code for code, number in enumerate(sorted({int(text) for text in texts}))}
        return np.array([codes[int(text)] for text in texts], np.int64)
    return numbers
