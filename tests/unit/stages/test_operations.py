"""Our counter gives the figures of torch's own, which needs torch's compiler for it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rra_cli.stages.operations import Operations


class Attention(nn.Module):
    """Tokens that look at each other in four heads."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(64, 192)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = self.into(tokens).unflatten(-1, (3, 4, 16)).permute(2, 0, 3, 1, 4)
        return nn.functional.scaled_dot_product_attention(query, key, value)


IMAGES = torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)
NETWORKS = {
    "convolutions": nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.GELU(), nn.Conv2d(4, 8, 3, groups=2), nn.Flatten()
    ),
    "attention": nn.Sequential(nn.Flatten(2), Attention()),
    "linear": nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.ReLU(), nn.Linear(5, 2)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("mode", ["training", "evaluation", "inference"])
def test_the_figures_are_torchs_own(name: str, mode: str) -> None:
    network = NETWORKS[name].train(mode == "training")

    def runs() -> None:
        if mode == "training":
            network(IMAGES).square().sum().backward()
            return
        with torch.inference_mode() if mode == "inference" else torch.no_grad():
            network(IMAGES)

    with FlopCounterMode(display=False) as theirs:
        runs()
    with Operations() as ours:
        runs()
    assert ours.total == theirs.get_total_flops() > 0


def test_nothing_is_counted_outside() -> None:
    with Operations() as ours:
        pass
    NETWORKS["linear"](IMAGES)
    assert ours.total == 0


@pytest.mark.parametrize(("counter", "imported"), [("Operations()", False), ("FlopCounterMode(display=False)", True)])
def test_the_compiler_stays_away(counter: str, imported: bool) -> None:
    code = (
        "import sys, torch\nfrom rra_cli.stages.operations import Operations\n"
        f"from torch.utils.flop_counter import FlopCounterMode\nwith {counter}:\n"
        "    torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 2, 2))\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == f"{imported}\n", done.stderr
