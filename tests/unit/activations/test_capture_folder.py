"""The public `capture`: any network and loader to a folder that is read back, whole or not there at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from activation_networks import InPlaceNet, TokenNet, reference_hooks
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from rra_cli import capture
from rra_cli.activations.files import open_layer, read_folder
from rra_cli.activations.pooling import Pooling
from rra_cli.errors import UserError

N = 37


def images() -> torch.Tensor:
    return torch.randn(N, 1, 8, 8, generator=torch.Generator().manual_seed(0))


LABELS = torch.arange(N) % 3


def loader(batch_size: int = 10) -> DataLoader:
    return DataLoader(TensorDataset(images(), LABELS), batch_size=batch_size)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_leaves_in_the_order_of_execution_equal_plain_hooks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = InPlaceNet()
    expected = reference_hooks(net, images(), 10)
    path = capture(net.train(), loader(), tmp_path / "acts")
    assert path == tmp_path / "acts"
    assert net.training
    assert not any(child._forward_hooks for child in net.modules())
    layers = ["input", "stem", *(f"blocks.{i}.{x}" for i in range(2) for x in ("relu@1", "conv", "norm", "relu@2"))]
    layers += ["drop", "head"]
    assert names(path) == [f"{i:03d}_{layer}.npy" for i, layer in enumerate(layers)] + ["labels.npy"]
    user = read_folder(path)
    assert [layer.name for layer in user.layers] == layers
    np.testing.assert_array_equal(user.labels, LABELS.numpy())
    for layer in user.layers:
        if layer.name == "input":
            reference = images()
        else:
            module, _, call = layer.name.partition("@")
            reference = expected[module][int(call or 1) - 1]
        assert layer.shape == reference.shape
        assert layer.dtype == np.float32
        np.testing.assert_array_equal(open_layer(layer, Pooling()), reference.flatten(1).numpy(), err_msg=layer.name)


def test_chosen_layers(tmp_path: Path) -> None:
    capture(InPlaceNet(), loader(), tmp_path / "a", layers=["head", "blocks.*", "input"])
    assert names(tmp_path / "a")[:-1] == ["000_input.npy", "001_blocks.0.npy", "002_blocks.1.npy", "003_head.npy"]
    capture(InPlaceNet(), loader(), tmp_path / "b", layers="blocks.*.conv")
    assert names(tmp_path / "b")[:-1] == ["000_blocks.0.conv.npy", "001_blocks.1.conv.npy"]


def test_loaders_without_labels_of_unknown_length_and_with_more_items(tmp_path: Path) -> None:
    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[torch.Tensor]:
            yield from images()

    def three() -> Iterator[tuple[Any, ...]]:
        for i in range(0, N, 10):
            yield images()[i : i + 10], LABELS[i : i + 10].tolist(), "index"

    for name, source in {
        "stream": DataLoader(Stream(), batch_size=10),
        "tensors": [images()[:20], images()[20:20], images()[20:]],
        "ones": DataLoader(TensorDataset(images()), batch_size=10),
        "none": [(images(), None)],
        "three": three(),
    }.items():
        user = read_folder(capture(InPlaceNet(), source, tmp_path / name, layers=["input", "stem"]))
        assert user.n_samples == N
        assert (user.labels is None) == (name != "three")
        np.testing.assert_array_equal(open_layer(user.layers[0], Pooling()), images().flatten(1).numpy())


def test_tokens_and_what_globs_leave_out(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(20, 3, 4)
    with pytest.warns(UserWarning, match=r"left out of the capture: position: its output has shape \(3, 4\)"):
        path = capture(TokenNet(), [x], tmp_path / "a")
    assert names(path) == ["000_input.npy", "001_lstm.npy", "002_norm.npy", "003_head.npy"]
    assert [layer.shape for layer in read_folder(path).layers] == [(20, 3, 4), (20, 3, 4), (20, 3, 4), (20, 2)]
    torch.manual_seed(0)
    net = TokenNet()
    tokens = np.load(capture(net, [x], tmp_path / "none", layers="norm") / "000_norm.npy")
    for pool, expected in {"cls": tokens[:, 0], "last": tokens[:, 2], "mean": tokens.mean(axis=1)}.items():
        found = np.load(capture(net, [x], tmp_path / pool, layers=["norm", "head"], pooling=pool) / "000_norm.npy")
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    with pytest.raises(UserError, match="module 'position' cannot be captured"):
        capture(net, [x], tmp_path / "named", layers=["position"])


def test_a_network_without_inner_modules_is_its_own_layer(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    path = capture(net, [torch.eye(3)], tmp_path / "a")
    assert names(path) == ["000_input.npy", "001_output.npy"]
    np.testing.assert_array_equal(np.load(path / "001_output.npy"), net(torch.eye(3)).detach().numpy())


def test_wrappers_and_unusual_names_dtypes_and_shapes(tmp_path: Path) -> None:
    net = nn.ModuleDict({"a/b %41": nn.Conv3d(1, 2, 1), "input": nn.Flatten(0, -1), "ids": nn.Identity()}).double()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = net
            self.input = nn.Flatten()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.parts["ids"](self.input(self.parts["a/b %41"](x)).sum(1).long())

    x = torch.randn(4, 1, 2, 2, 2, dtype=torch.float64)
    path = capture(nn.DataParallel(Net()), [x], tmp_path / "a")
    assert names(path) == [
        "000_network_input.npy",
        "001_parts.a%2Fb %2541.npy",
        "002_input.npy",
        "003_parts.ids.npy",
    ]
    user = read_folder(path)
    assert [layer.name for layer in user.layers] == ["network_input", "parts.a/b %41", "input", "parts.ids"]
    assert [layer.shape for layer in user.layers] == [(4, 8), (4, 16), (4, 16), (4, 1)]
    assert [str(layer.dtype) for layer in user.layers] == ["float64", "float64", "float64", "float32"]


@pytest.mark.parametrize("kind", ["full", "file"])
def test_an_existing_path_is_left_alone(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "acts"
    if kind == "full":
        target.mkdir()
        (target / "mine.txt").write_text("mine")
    else:
        target.write_text("mine")
    with pytest.raises(UserError, match="exists already; expected a folder that is new or empty"):
        capture(InPlaceNet(), loader(), target)
    assert names(tmp_path) == ["acts"]
    assert (target / "mine.txt" if kind == "full" else target).read_text() == "mine"


def test_an_empty_folder_and_missing_parents_are_fine(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert len(names(capture(InPlaceNet(), loader(), tmp_path / "empty", layers="stem"))) == 2
    assert len(names(capture(InPlaceNet(), loader(), str(tmp_path / "a" / "b"), layers="stem"))) == 2


def test_nothing_is_left_when_the_network_or_the_loader_fails(tmp_path: Path) -> None:
    def failing() -> Iterator[torch.Tensor]:
        yield images()
        raise KeyboardInterrupt

    net = InPlaceNet().train()
    with pytest.raises(KeyboardInterrupt):
        capture(net, failing(), tmp_path / "acts")
    with pytest.raises(RuntimeError):
        capture(net, [images(), torch.zeros(2, 2, 8, 8)], tmp_path / "acts", layers="stem")
    assert names(tmp_path) == []
    assert net.training
    assert net.drop.training
    assert not any(child._forward_hooks for child in net.modules())


def test_a_killed_capture_never_looks_finished(tmp_path: Path) -> None:
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import torch
from rra_cli import capture
from activation_networks import InPlaceNet
def batches():
    yield torch.zeros(4, 1, 8, 8)
    yield torch.zeros(4, 1, 8, 8)
    os.kill(os.getpid(), signal.SIGKILL)
capture(InPlaceNet(), batches(), sys.argv[1])
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "acts")], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "acts").exists()
    assert [name[:5] for name in os.listdir(tmp_path)] == [".tmp-"]
    assert len(names(capture(InPlaceNet(), loader(), tmp_path / "acts", layers="stem"))) == 2


def test_rows_that_are_not_finite_are_written_with_a_warning(tmp_path: Path) -> None:
    x = torch.ones(5, 2)
    x[3, 1] = float("nan")
    with pytest.warns(UserWarning, match=r"layer 'input': 1 of 5 rows hold NaN or infinity"):
        path = capture(nn.Linear(2, 2), [x], tmp_path / "a", layers=["input"])
    np.testing.assert_array_equal(np.load(path / "000_input.npy"), x.numpy())


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "the loader yields no samples, expected at least one"),
        ([{"image": 1}], "the loader yields a dict; expected input tensors or tuples (inputs, labels)"),
        ([torch.tensor(1.0)], "the loader yields a single number; expected inputs (n, ...)"),
        ([(torch.zeros(3, 2), torch.zeros(3))], "the loader yields labels of shape (3,) and type float32; expected 3"),
        ([(torch.zeros(3, 2), torch.zeros(2, dtype=int))], "labels of shape (2,) and type int64; expected 3 integers"),
        ([(torch.zeros(3, 2), torch.arange(3)), torch.zeros(3, 2)], "labels in some batches and none in others"),
        ([torch.zeros(3, 2), (torch.zeros(3, 2), torch.arange(3))], "labels in some batches and none in others"),
    ],
)
def test_unusable_loaders(tmp_path: Path, batches: list, message: str) -> None:
    with pytest.raises(UserError) as caught:
        capture(nn.Linear(2, 2), batches, tmp_path / "a")
    assert message in caught.value.message
    assert names(tmp_path) == []


def test_unusable_arguments(tmp_path: Path) -> None:
    net, batches, path = nn.Linear(2, 2), [torch.zeros(3, 2)], tmp_path / "a"
    with pytest.raises(UserError, match="there is no pooling 'median'; known: none, avg2, avg4"):
        capture(net, batches, path, pooling="median")
    with pytest.raises(UserError, match="layers is empty: there is nothing to capture"):
        capture(net, batches, path, layers=[])
    with pytest.raises(UserError, match="has no module 'outptu': did you mean 'output'"):
        capture(net, batches, path, layers=["outptu"])
    with pytest.raises(UserError, match="device 'tpu9' is not available here"):
        capture(net, batches, path, device="tpu9")
    with pytest.raises(UserError, match=r"has shape \(2,\) in one batch and \(3,\) in another"):
        capture(nn.Identity(), [torch.zeros(3, 2), torch.zeros(3, 3)], path)
    assert names(tmp_path) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_that_is_absent(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="device 'cuda' is not available here"):
        capture(nn.Linear(2, 2), [torch.zeros(3, 2)], tmp_path / "a", device="cuda")


def test_an_unwritable_parent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*a file lies where a folder is needed"):
        capture(nn.Linear(2, 2), [torch.zeros(3, 2)], tmp_path / "file" / "acts")
