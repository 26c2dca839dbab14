"""The pickled batches of CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.data.official_files import OfficialFile, read_verified

# What pickled numpy arrays and their bytes are made by, in old and new versions of numpy; batches hold nothing else.
_ARRAYS = {
    *((f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _ArraysOnly(pickle.Unpickler):
    """Makes arrays, numbers, text and lists of them; what else a pickle names is refused, and never imported."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAYS:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a data set")
        return super().find_class(module, name)


def read_batch(root: Path, batch: OfficialFile, labels: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images `(n, 3, 32, 32)` uint8 and labels `(n,)` int64 of one batch. labels: the name of their list in it.

    The batches are published as pickles, which can run code when they are opened. This is the only place that opens
    one: only bytes whose md5 is that of the published file, and nothing but arrays in them.
    """
    content = read_verified(root, batch)
    with warnings.catch_warnings():
        # numpy 2.4.0 to 2.4.4 remark on dtype(..., align=0), as Python 2's numpy pickled it (numpy pull request 31177).
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        entry = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    return entry["data"].reshape(-1, 3, 32, 32), np.asarray(entry[labels], dtype=np.int64)


def download_cifar(name: str, folder: Path) -> None:
    """All files of `CIFAR10` or `CIFAR100` into the folder, by torchvision.

    Not by the constructor of its data set, which would open the pickles: fetching and unpacking is all that is wanted.
    """
    from rra_cli.data.torchvision_import import import_torchvision

    datasets = import_torchvision().datasets
    published = getattr(datasets, name)
    datasets.utils.download_and_extract_archive(
        published.url, str(folder), filename=published.filename, md5=published.tgz_md5
    )
