"""Archives of pictures that are downloaded, or cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omniglot_archives import FOLDER, small_omniglot
from small_files import put

from rra_cli.data.caltech101 import Caltech101
from rra_cli.data.dataset import SPLITS
from rra_cli.data.omniglot import Omniglot
from rra_cli.data.tiny_imagenet import TinyImagenet
from rra_cli.data.torchvision_import import import_torchvision
from rra_cli.errors import UserError

datasets = import_torchvision().datasets


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of these tests is remembered elsewhere."""
    monkeypatch.setenv("RRA_DATA", str(tmp_path / "data"))


@pytest.mark.parametrize("cls", [Omniglot, Caltech101, TinyImagenet])
def test_without_a_network_the_message_names_the_missing_archive(cls: type, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing .*\.zip; the download failed \(.*no network in tests"):
        cls(root=str(tmp_path / "data")).load("train")
    assert not (tmp_path / "data").exists()


def test_an_archive_is_downloaded_and_left_packed(tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = small_omniglot(tmp_path / "source")
    for file in source.archives.values():
        put(server.folder / Path(file.path).name, (tmp_path / "source" / file.path).read_bytes())
    monkeypatch.setattr(datasets.Omniglot, "download_url_prefix", server.url.rstrip("/"))
    monkeypatch.setattr(
        datasets.Omniglot, "zips_md5", {FOLDER[split]: source.archives[split].digest for split in SPLITS}
    )
    fetched = type(source)(root=str(tmp_path / "root"))
    assert len(fetched.load("test")) == 6
    assert [path.name for path in (tmp_path / "root").rglob("*")] == ["omniglot-py", "images_evaluation.zip"]
