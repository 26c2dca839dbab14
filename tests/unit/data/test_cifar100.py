"""CIFAR-100 from small pickles in its format."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_files import published

from rra_cli.core.fields import identity_of
from rra_cli.data import cifar100
from rra_cli.data.cifar100 import COARSE, FINE, Cifar100
from rra_cli.data.cifar_files import read_batch
from rra_cli.data.dataset import SPLITS, Split
from rra_cli.data.torchvision_import import import_torchvision
from rra_cli.errors import UserError

datasets = import_torchvision().datasets


def entry(n: int, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    fine = random.permutation(np.arange(n) % 100).tolist()
    return {
        "data": random.integers(0, 256, (n, 3072), dtype=np.uint8),
        "fine_labels": fine,
        "coarse_labels": [label % 20 for label in fine],
        "filenames": [f"{i}.png" for i in range(n)],
    }


def small(root: Path, **options: Any) -> Cifar100:
    batches = {
        split: published(root, f"cifar-100-python/{split}", pickle.dumps(entry(n, n)))
        for split, n in (("train", 200), ("test", 100))
    }
    cls = type("Small", (Cifar100,), {"batches": batches, "sizes": {"train": 200, "test": 100}})
    made: Cifar100 = cls(root=str(root), download=False, **options)
    return made


def test_the_md5_list_is_torchvisions() -> None:
    published = datasets.CIFAR100
    ours = [[Path(file.path).name, file.digest] for file in cifar100.BATCHES.values()]
    assert ours == [*published.train_list, *published.test_list]
    assert [Path(cifar100.META.path).name, cifar100.META.digest] == [published.meta["filename"], published.meta["md5"]]
    assert Path(cifar100.META.path).parts[0] == published.base_folder


def test_the_published_counts() -> None:
    assert Cifar100.sizes == {"train": 50_000, "test": 10_000}
    assert (len(set(FINE)), len(set(COARSE))) == (100, 20)
    assert list(FINE) == sorted(FINE)
    assert list(COARSE) == sorted(COARSE)


@pytest.mark.parametrize("split", SPLITS)
def test_images_and_labels_are_what_torchvision_reads(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = small(tmp_path)
    samples = dataset.load(split)
    meta = published(tmp_path, "cifar-100-python/meta", pickle.dumps({"fine_label_names": list(FINE)}))
    for part, name in (("train", "train_list"), ("test", "test_list")):
        monkeypatch.setattr(datasets.CIFAR100, name, [[part, dataset.batches[part].digest]])  # type: ignore[index]
    monkeypatch.setattr(datasets.CIFAR100, "meta", {"filename": "meta", "key": "fine_label_names", "md5": meta.digest})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy 2.4.0 to 2.4.4 on old pickles
        theirs = datasets.CIFAR100(str(tmp_path), train=split == "train", download=False)
    assert (samples.images == theirs.data.transpose(0, 3, 1, 2)).all()
    assert samples.labels.tolist() == theirs.targets
    assert list(dataset.class_names) == theirs.classes


def test_coarse_labels_are_the_superclasses(tmp_path: Path) -> None:
    fine, coarse = small(tmp_path).load("test"), small(tmp_path, labels="coarse").load("test")
    assert (coarse.images == fine.images).all()
    assert coarse.labels.tolist() == (fine.labels % 20).tolist()  # as they were made above
    assert (len(Cifar100(labels="coarse").class_names), len(Cifar100().class_names)) == (20, 100)
    assert identity_of(Cifar100(labels="coarse")) != identity_of(Cifar100())


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.trace,))


def test_a_pickle_that_is_not_the_official_one_is_never_opened(tmp_path: Path) -> None:
    content, path = pickle.dumps(Bomb(tmp_path / "trace")), tmp_path / "cifar-100-python" / "test"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged or not the official file: expected md5 f0ef6b0ae62326f3"):
        Cifar100(root=str(tmp_path), download=False).load("test")
    assert not (tmp_path / "trace").exists()
    pickle.loads(content)  # negative control: opened, it would have run
    assert (tmp_path / "trace").exists()


def test_nothing_but_arrays_is_taken_from_a_pickle_even_of_the_right_checksum(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    batch = published(tmp_path, "cifar-100-python/test", pickle.dumps({**entry(5, 0), "more": Bomb(trace)}))
    with pytest.raises(pickle.UnpicklingError, match="is no part of a data set"):
        read_batch(tmp_path, batch, "fine_labels")
    assert not trace.exists()
    good = published(tmp_path, "cifar-100-python/train", pickle.dumps(entry(5, 0)))
    assert (read_batch(tmp_path, good, "fine_labels")[0].reshape(5, -1) == entry(5, 0)["data"]).all(), "control"


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"CIFAR-100 is not complete in .*: missing cifar-100-python/test; .*is false"):
        Cifar100(root=str(tmp_path), download=False).load("test")
