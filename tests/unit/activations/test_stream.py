"""The streamed pass: equal to plain hooks, small in memory, the network left as it was."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from activation_networks import TokenNet, reference_hooks
from streaming import BATCH, REQUESTS, contents, images, network, run
from torch import nn

from rra_cli.activations.capture import Request
from rra_cli.activations.pooling import Pooling


def test_equals_plain_hooks_in_a_network_that_overwrites_everything(tmp_path: Path) -> None:
    captured = run(tmp_path)
    net = network()
    expected = reference_hooks(net, images(), BATCH)
    by_name = {
        "input": images(),
        "stem": expected["stem"][0],
        "first": expected["blocks.0.relu"][0],
        "block": expected["blocks.0"][0],
        "head": expected["head"][0],
    }
    for request, result in captured.items():
        found = np.load(result.path, mmap_mode="r", allow_pickle=False)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, by_name[request.layer].flatten(1).numpy(), err_msg=request.layer)
        assert result.nonfinite_rows == 0
    # Negative control: without copying at once the stem would hold what the in-place ReLU after it left there.
    assert (np.load(captured[REQUESTS[1]].path) < 0).any()
    assert not (np.load(captured[REQUESTS[2]].path) < 0).any()


def test_poolings_of_one_module_share_the_pass(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, x = TokenNet(), torch.randn(20, 3, 4)
    requests = [Request("norm", "norm", Pooling(pool)) for pool in ("none", "cls", "mean", "last")]
    requests += [Request("lstm", "lstm"), Request("head", "head", Pooling("cls"))]
    calls = []
    net.register_forward_pre_hook(lambda *_: calls.append(1))
    captured = run(tmp_path, net, requests, x=x)
    assert len(calls) == 3
    arrays = [np.load(captured[request].path) for request in requests]
    tokens = arrays[0].reshape(20, 3, 4)
    np.testing.assert_array_equal(arrays[1], tokens[:, 0])
    np.testing.assert_allclose(arrays[2], tokens.mean(axis=1), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(arrays[3], tokens[:, 2])
    assert [array.shape for array in arrays[4:]] == [(20, 12), (20, 2)]


def test_the_network_is_left_as_it_was(tmp_path: Path) -> None:
    net = network().train()
    state = {key: value.clone() for key, value in net.state_dict().items()}
    generator = torch.get_rng_state()
    run(tmp_path, net)
    assert net.training
    assert net.drop.training
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert not any(child._forward_hooks for child in net.modules())


def test_hooks_and_mode_are_restored_when_the_network_fails(tmp_path: Path) -> None:
    net = network().train()
    net.head = nn.Linear(1, 1)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(tmp_path, net)
    assert net.training
    assert not any(child._forward_hooks for child in net.modules())


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    """Python and numpy memory by tracemalloc, torch's by the peak of this process: 80 MB of layers pass through 10."""
    n, features, batch = 20_000, 500, 200
    code = f"""
import resource, sys
from pathlib import Path
import torch
from torch import nn
from rra_cli.activations.capture import Request, stream
torch.set_num_threads(1)
net = nn.Sequential(nn.Linear(4, {features}), nn.ReLU(inplace=True))
requests = [Request("a", "0"), Request("b", "1")]
def go(n, name):
    work = Path(sys.argv[1]) / name
    stream(net, lambda a, b: torch.ones(b - a, 4), n, requests, work, batch_size={batch}, device="cpu")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
warm = go({batch} * 2, "warm")
print(go({n}, "large") - warm)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    written = sum(path.stat().st_size for path in (tmp_path / "large").glob("*/activations.npy"))
    assert written > 80_000_000
    assert int(done.stdout) < 10_000_000


def test_numpy_memory_is_that_of_one_layer_of_a_batch(tmp_path: Path) -> None:
    net, x = nn.Sequential(nn.Linear(4, 1000)), torch.ones(2000, 4)
    run(tmp_path / "warm", net, [Request("a", "0")], x=x[:16])
    tracemalloc.start()
    run(tmp_path / "a", net, [Request("a", "0")], x=x, batch_size=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000  # the layer is 8 MB


def test_float16(tmp_path: Path) -> None:
    wide, narrow = contents(run(tmp_path / "wide")), run(tmp_path / "narrow", dtype="float16")
    for request, result in narrow.items():
        found = np.load(result.path)
        assert found.dtype == np.float16
        (tmp_path / "wide.npy").write_bytes(wide[request])
        np.testing.assert_array_equal(found, np.load(tmp_path / "wide.npy").astype(np.float16))
