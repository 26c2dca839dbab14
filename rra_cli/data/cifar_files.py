"""The pickled batches of CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rra_cli.data.official_files import OfficialFile, read_verified


def read_batch(root: Path, batch: OfficialFile, labels: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images `(n, 3, 32, 32)` uint8 and labels `(n,)` int64 of one batch. labels: the name of their list in it.

    The batches are published as pickles, which can run code when they are opened. This is the only place that opens
    one, and only bytes whose md5 is that of the published file.
    """
    content = read_verified(root, batch)
    with warnings.catch_warnings():
        # numpy 2.4.0 to 2.4.4 remark on dtype(..., align=0), as Python 2's numpy pickled it (numpy pull request 31177).
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        entry = pickle.loads(content, encoding="latin1")
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
