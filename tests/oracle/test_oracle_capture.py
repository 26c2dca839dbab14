"""`capture` on a user's own network against plain forward hooks, and the three lines that measure its files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from reference_impl import brute_force, log_ratios, nncs_sets, nnls_sets, twonn_mle

torch = pytest.importorskip("torch")

import rra_cli  # noqa: E402
from rra_cli.errors import UserError  # noqa: E402
from rra_cli.metrics import nncs, nnls, twonn  # noqa: E402
from rra_cli.neighbors import exact_neighbors  # noqa: E402

N = 90


class Net(torch.nn.Module):
    """Batch norm and dropout, so that training mode would show."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.drop = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(4 * 36, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        return self.head(self.drop(x).flatten(1))


@pytest.fixture(scope="module")
def data() -> tuple[Net, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    labels = torch.arange(N) % 3
    return Net(), torch.randn(N, 1, 8, 8) + labels[:, None, None, None], labels


def loader(data: tuple[Net, torch.Tensor, torch.Tensor], batch: int) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(data[1], data[2]), batch_size=batch)


def layers_of(folder: Path) -> dict[str, np.ndarray]:
    files = sorted(p for p in folder.glob("*.npy") if p.name != "labels.npy")
    assert [int(p.name[:3]) for p in files] == list(range(len(files)))
    return {p.stem[4:]: np.load(p, allow_pickle=False) for p in files}


def hooked(data: tuple[Net, torch.Tensor, torch.Tensor]) -> dict[str, np.ndarray]:
    net, x, _ = data
    seen: dict[str, np.ndarray] = {}
    handles = [
        module.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out.detach().numpy()))
        for name, module in net.named_modules()
        if name
    ]
    training = net.training
    net.eval()
    with torch.no_grad():
        net(x)
    net.train(training)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("batch", [7, 32, N])
def test_capture_is_a_forward_pass_in_eval_mode(data: tuple, tmp_path: Path, batch: int) -> None:
    """Whatever the batch size; the network is left as it was (mode, weights, batch statistics, no hooks)."""
    net = data[0]
    net.train()
    state = {key: value.clone() for key, value in net.state_dict().items()}
    rra_cli.capture(net, loader(data, batch), tmp_path / "run")
    assert net.training
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
    found, expected = layers_of(tmp_path / "run"), hooked(data)
    for name in ("conv", "norm", "drop", "head"):
        assert name in found, sorted(found)
        np.testing.assert_allclose(
            found[name].reshape(N, -1), expected[name].reshape(N, -1), rtol=1e-4, atol=1e-5, err_msg=name
        )
    np.testing.assert_array_equal(np.load(tmp_path / "run" / "labels.npy", allow_pickle=False), data[2].numpy())


def test_capture_of_chosen_layers_in_network_order(data: tuple, tmp_path: Path) -> None:
    rra_cli.capture(data[0], loader(data, 32), tmp_path / "run", layers=["head", "conv"])
    found = [name for name in layers_of(tmp_path / "run") if name not in ("input",)]
    assert sorted(found) == ["conv", "head"]


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_capture_pools_tokens_and_leaves_the_rest_alone(pooling: str, tmp_path: Path) -> None:
    """`(n, tokens, features)` to the first token, the mean of all, or the last; vectors and maps stay as they are."""
    torch.manual_seed(1)
    tokens = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(20, 3))
    x = torch.randn(N, 5, 6)
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.arange(N) % 3), batch_size=32)
    rra_cli.capture(tokens, batches, tmp_path / "run", layers=["1", "3"], pooling=pooling)
    found = layers_of(tmp_path / "run")
    with torch.no_grad():
        mid = torch.tanh(tokens[0](x)).numpy()
        end = tokens(x).numpy()
    expected = {"cls": mid[:, 0], "mean": mid.mean(axis=1), "last": mid[:, -1]}[pooling]
    np.testing.assert_allclose(found["1"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["3"], end, rtol=1e-4, atol=1e-5)


def test_mean_is_of_tokens_not_of_positions_of_a_map(data: tuple, tmp_path: Path) -> None:
    """Spatial averages are another pooling (avg): a convolution's map is left alone by `mean`."""
    rra_cli.capture(data[0], loader(data, 32), tmp_path / "run", layers=["conv"], pooling="mean")
    found = layers_of(tmp_path / "run")["conv"]
    np.testing.assert_allclose(found.reshape(N, -1), hooked(data)["conv"].reshape(N, -1), rtol=1e-4, atol=1e-5)


def test_unknown_layer_is_the_users_fault(data: tuple, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="conv"):
        rra_cli.capture(data[0], loader(data, 32), tmp_path / "run", layers=["cnov"])
    assert not list((tmp_path / "run").glob("*.npy")) if (tmp_path / "run").exists() else True


def test_not_finite_activations_are_told_and_not_measured(data: tuple, tmp_path: Path) -> None:
    net, x, labels = data
    broken = x.clone()
    broken[4, 0, 0, 0] = float("nan")
    bad = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(broken, labels), batch_size=32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rra_cli.capture(net, bad, tmp_path / "run", layers=["conv", "head"])
    told = [str(warning.message) for warning in caught]
    assert any("conv" in text and "1" in text for text in told), told
    for x in layers_of(tmp_path / "run").values():
        with pytest.raises(UserError, match=r"(?i)nan|finite"):
            exact_neighbors(x.reshape(N, -1), 3)


def test_three_lines_measure_the_captured_layers(data: tuple, tmp_path: Path) -> None:
    """The whole way from files to numbers equals brute force and sets."""
    rra_cli.capture(data[0], loader(data, 32), tmp_path / "run", layers=["conv", "head"])
    found = {name: x.reshape(N, -1) for name, x in layers_of(tmp_path / "run").items()}
    graphs = {name: exact_neighbors(x, 6) for name, x in found.items()}
    ids = {name: brute_force(x, 6)[0] for name, x in found.items()}
    labels = np.load(tmp_path / "run" / "labels.npy")
    for name, x in found.items():
        assert float(twonn(graphs[name])) == pytest.approx(twonn_mle(log_ratios(x)), rel=1e-6)
        assert float(nncs(graphs[name], labels)) == pytest.approx(nncs_sets(ids[name], labels)[0], rel=1e-12)
    assert float(nnls(graphs["conv"], graphs["head"])) == pytest.approx(
        nnls_sets(ids["conv"], ids["head"])[0], rel=1e-12
    )
