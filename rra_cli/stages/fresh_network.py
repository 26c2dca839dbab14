"""A network as its training begins: its initial weights, what they take, and what a pass through them costs."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from rra_cli.core.reproducibility import derive_seed
from rra_cli.methods.method import Method, Objective
from rra_cli.models.encoder import Encoder
from rra_cli.models.model import Model
from rra_cli.stages import costs
from rra_cli.stages.images import Images

if TYPE_CHECKING:
    from torch import nn


class FreshNetwork:
    """An encoder and the heads of a method, drawn anew whenever they are asked for; the same ones for the same seed.

    n_outputs: classes that the encoder tells apart; 0 where it ends in the representation.
    """

    def __init__(self, model: Model, method: Method, seed: int, images: Images, n_outputs: int) -> None:
        self._model, self._method, self._seed = model, method, seed
        self._images, self._n_outputs = images, n_outputs

    def encoder(self) -> Encoder:
        """The architecture with its initial weights."""
        return self._drawn()[0]

    def heads(self) -> dict[str, nn.Module]:
        """The method's heads (projector, predictor) with their initial weights, in the order in which they run."""
        if not self._method.trains:
            return {}
        _, objective = self._drawn(heads=True)
        assert objective is not None
        return {name: getattr(objective, name) for name in objective.heads}

    @cached_property
    def forward_flops(self) -> float:
        """Operations of one sample's forward pass."""
        return costs.forward_flops(self.encoder().module, self._images.dataset.input_shape)

    @cached_property
    def step_flops(self) -> float:
        """Operations of one sample in a training step."""
        encoder, objective = self._drawn(heads=True)
        assert objective is not None
        return costs.step_flops(encoder, objective, self._images.dataset.input_shape, self._method.n_views)

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of one checkpoint."""
        modules = (self.encoder().module, *self.heads().values())
        return sum(tensor.nbytes for module in modules for tensor in module.state_dict().values())

    def _drawn(self, heads: bool = False) -> tuple[Encoder, Objective | None]:
        """As the training begins: the encoder's weights are drawn first, then the objective's."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self._seed, "init"))
            encoder = self._model.build(self._images.dataset.input_shape, self._n_outputs)
            if not heads:
                return encoder, None
            return encoder, self._method.objective(encoder, len(self._images.dataset.class_names))
