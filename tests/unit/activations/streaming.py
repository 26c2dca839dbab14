"""What the tests of the streamed pass share: a small network, its images, a pass over them and what it wrote."""

from __future__ import annotations

from pathlib import Path

import torch
from activation_networks import InPlaceNet
from torch import nn

from rra_cli.activations.capture import Captured, Request, stream

N, BATCH = 50, 8
REQUESTS = [
    Request("input", ""),
    Request("stem", "stem"),
    Request("first", "blocks.0.relu@1"),
    Request("block", "blocks.0"),
    Request("head", "head"),
]


def network() -> InPlaceNet:
    torch.manual_seed(0)
    net = InPlaceNet()
    for norm in (net.blocks[0].norm, net.blocks[1].norm):
        norm.running_mean.normal_()
    return net


def images(n: int = N) -> torch.Tensor:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def run(work: Path, net: nn.Module | None = None, requests: list[Request] = REQUESTS, **options) -> dict:
    x = options.pop("x", None)
    x = images() if x is None else x
    options = {"batch_size": BATCH, "device": "cpu", **options}
    return stream(net or network(), lambda start, stop: x[start:stop].clone(), len(x), requests, work, **options)


def contents(captured: dict[Request, Captured]) -> dict[Request, bytes]:
    return {request: result.path.read_bytes() for request, result in captured.items()}


class Killed(BaseException):
    """Stands for a kill: nothing in the product catches it to tidy up."""
