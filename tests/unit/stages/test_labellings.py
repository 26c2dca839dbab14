"""Labellings beside the classes: from pictures, from CIFAR-100, from a user's file; and what may be wrong with it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rra_cli.data import attributes
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.cifar100 import Cifar100
from rra_cli.data.dataset import Samples
from rra_cli.data.digits import Digits
from rra_cli.errors import UserError
from rra_cli.metrics.label_overlap import LabelOverlap
from rra_cli.stages.images import Images
from rra_cli.stages.labellings import labelling_of, read_column, typed
from rra_cli.stages.measure import NO_LABELS


def images() -> Images:
    return Images(Digits(n_samples=20))


def table(folder: Path, text: str) -> Path:
    path = folder / "mine.csv"
    path.write_text(text)
    return path


def labels_of(metric: LabelOverlap, data: Any = None, split: str = "test") -> Any:
    found = labelling_of("mine", metric, data or images(), split, NO_LABELS)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_labellings_of_pictures() -> None:
    data = images()
    found = labels_of(LabelOverlap("luminance"), data)
    np.testing.assert_array_equal(found.labels(), attributes.luminance(data.measured("test").images))
    assert found.identity == {"labelling": "luminance", "version": attributes.VERSION}
    assert labels_of(LabelOverlap("hue"), data).labels().dtype == np.int64
    assert labels_of(LabelOverlap("class"), data) is NO_LABELS


def test_superclasses_belong_to_the_measured_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever labels are trained on; without the files, by a stand-in for reading them."""

    def load(self: Cifar100, split: str) -> Samples:
        fine = (np.arange(100) + 50 * (split == "train")) % 100
        labels = fine if self.labels == "fine" else fine // 5
        return Samples(np.zeros((100, 3, 32, 32), np.uint8), labels.astype(np.int64), np.arange(100))

    monkeypatch.setattr(Cifar100, "load", load)
    monkeypatch.setattr(Cifar100, "sizes", {"train": 100, "test": 100})
    data = Images(Cifar100(n_samples=30))
    for split in ("test", "train"):
        found = labels_of(LabelOverlap("superclass"), data, split).labels()
        np.testing.assert_array_equal(found, data.labels(split) // 5)  # type: ignore[arg-type]


def test_a_column_of_a_file(tmp_path: Path) -> None:
    """By sample id, whatever the order and whoever else is in it; numbers with a point are a quantity; the content is
    the identity.
    """
    data = images()
    ids = data.sample_ids("test")
    assert ids.tolist() != list(range(len(ids)))
    everyone = range(int(ids.max()) + 5, -1, -1)
    rows = "".join(f"{i},{i / 8},{'even' if i % 2 == 0 else 'odd'},{i // 10}\n" for i in everyone)
    path = table(tmp_path, "sample_id,size,parity,tens\n" + rows)
    np.testing.assert_array_equal(labels_of(LabelOverlap("size", file=str(path)), data).labels(), ids / 8)
    parity = labels_of(LabelOverlap("parity", file=str(path)), data)
    np.testing.assert_array_equal(parity.labels(), ids % 2)
    assert labels_of(LabelOverlap("tens", file=str(path)), data).labels().dtype == np.int64
    before = parity.identity
    moved = path.rename(tmp_path / "other.csv")
    assert labels_of(LabelOverlap("parity", file=str(moved)), data).identity == before
    moved.write_text(moved.read_text() + "99999,1.5,odd,1\n")
    assert labels_of(LabelOverlap("parity", file=str(moved)), data).identity != before


def test_long_whole_numbers_stay_apart() -> None:
    """Beyond 2^53 neighbouring whole numbers are one float."""
    texts = ["9007199254740993", "9007199254740992", "+7", "7", "-1", "1" + 30 * "0"]
    assert typed(texts, "column id").tolist() == [3, 2, 1, 1, 0, 4]


def test_a_column_split_tells_train_from_test(tmp_path: Path) -> None:
    path = table(tmp_path, "sample_id,split,mood\n0,train,good\n0,test,bad\n1,test,good\n")
    assert read_column(path, "mood", "train") == {0: "good"}
    assert read_column(path, "mood", "test") == {0: "bad", 1: "good"}
    rows = "".join(f"{i},{split},{at}.5\n" for at, split in enumerate(("train", "test")) for i in range(1437))
    both = LabelOverlap("half", file=str(table(tmp_path, "sample_id,split,half\n" + rows + "0,other,9\n")))
    assert [set(labels_of(both, None, split).labels()) for split in ("train", "test")] == [{0.5}, {1.5}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,mood\n0,good\n", "has no column 'sample_id'"),
        ("sample_id,mode\n0,good\n", "has no column 'mood': did you mean 'mode'"),
        ("sample_id,mood\n0,good\n0,bad\n", r"row 3 has sample_id 0 a second time \(a column split tells"),
        ("sample_id,mood\nzero,good\n", "cannot be read as a table of samples: invalid literal"),
        ("sample_id,mood\n1\n", "row 2 has fewer cells"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_column(table(tmp_path, text), "mood", "test")


def test_what_does_not_fit_the_data_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        labels_of(LabelOverlap("mood", file=str(tmp_path / "none.csv")))
    path = table(tmp_path, "sample_id,mood\n0,good\n")
    with pytest.raises(UserError, match=r"no mood for \d+ of the 20 measured samples of the test split"):
        labels_of(LabelOverlap("mood", file=str(path))).labels()
    with pytest.raises(UserError, match="'lumiance', which does not come with rra: did you mean 'luminance'"):
        labels_of(LabelOverlap("lumiance"))
    with pytest.raises(UserError, match="a labelling of CIFAR-100, but dataset=digits"):
        labels_of(LabelOverlap("superclass"))
    with pytest.raises(UserError, match="a labelling of pictures, but dataset=activations"):
        labels_of(LabelOverlap("hue"), SimpleNamespace(dataset=ActivationFiles()))
    with pytest.raises(UserError, match="2 empty cells"):
        typed(["1", "", ""], "column mood of mine.csv")
    with pytest.raises(UserError, match="not finite"):
        typed(["1", "nan"], "column mood of mine.csv")
