"""An inner layer's output of the very forward pass whose result is used: representation and logits at once."""

from __future__ import annotations

import torch
from torch import nn


class Tap:
    """Sees the output of one module inside of a network whenever the network runs, and hands it over on request.

    module: the bare network; layer: the dotted name of the module that is listened to. The network may be wrapped
    afterwards (data parallel, compiled): the hook lies on the inner module, and outputs keep their gradients. It is no
    `nn.Module`, so whoever holds one does not register the network as a part of itself. Raises AttributeError where
    the layer does not exist.
    """

    def __init__(self, module: nn.Module, layer: str) -> None:
        self.layer = layer
        self._listening = False
        self._output: torch.Tensor | None = None
        self._handle = module.get_submodule(layer).register_forward_hook(self._keep)

    def run(self, network: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The network's output and the layer's. Raises RuntimeError where the layer did not run.

        network: the one given at first, bare or wrapped.
        """
        self._listening, self._output = True, None
        try:
            result = network(inputs)
            if self._output is None:
                raise RuntimeError(f"the layer {self.layer!r} did not run: is this the network that the tap lies in?")
            return result, self._output
        finally:
            # Nothing is kept between steps: the output holds on to the whole graph of its pass.
            self._listening, self._output = False, None

    def remove(self) -> None:
        """Takes the hook away."""
        self._handle.remove()

    def _keep(self, module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if self._listening:
            self._output = output
