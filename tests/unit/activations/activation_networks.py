"""Small networks with the traits that make capturing hard."""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):
    """One in-place ReLU called twice, the first time over the block's own input; a sum that is no module."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.norm(self.conv(self.relu(x))) + x)


class InPlaceNet(nn.Module):
    """Registered in another order than it runs; overwrites its own input; has a module that is never called."""

    def __init__(self, width: int = 4, side: int = 8) -> None:
        super().__init__()
        self.head = nn.Linear(width * side * side, 5)
        self.unused = nn.Linear(3, 3)
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.mul_(2.0)
        return self.head(self.drop(self.blocks(self.stem(x)).flatten(1)))


class TokenNet(nn.Module):
    """Tokens `(n, tokens, features)`, positions that are no samples, an LSTM and attention with tuples as outputs."""

    def __init__(self, tokens: int = 3, features: int = 4) -> None:
        super().__init__()
        self.position = nn.Embedding(tokens, features)
        self.lstm = nn.LSTM(features, features, batch_first=True)
        self.attention = nn.MultiheadAttention(features, 2, batch_first=True)
        self.norm = nn.LayerNorm(features)
        self.head = nn.Linear(features, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.position(torch.arange(x.shape[1]))
        x = self.lstm(x)[0]
        x = self.norm(x + self.attention(x, x, x)[0])
        return self.head(x[:, 0])


def reference_hooks(module: nn.Module, x: torch.Tensor, batch_size: int) -> dict[str, list[torch.Tensor]]:
    """An independent capture: every output of every call, cloned, in eval mode; by module name and call."""
    seen: dict[str, list[list[torch.Tensor]]] = {}

    def hook(name: str):
        def keep(child: nn.Module, inputs: object, output: object) -> None:
            calls[name] = calls.get(name, 0) + 1
            if isinstance(output, torch.Tensor):
                while len(seen.setdefault(name, [])) < calls[name]:
                    seen[name].append([])
                seen[name][calls[name] - 1].append(output.clone())

        return keep

    handles = [child.register_forward_hook(hook(name)) for name, child in module.named_modules() if name]
    module.eval()
    with torch.no_grad():
        for start in range(0, len(x), batch_size):
            calls: dict[str, int] = {}
            module(x[start : start + batch_size].clone())
    for handle in handles:
        handle.remove()
    return {name: [torch.cat(parts) for parts in calls_] for name, calls_ in seen.items()}
