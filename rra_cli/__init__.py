"""rra: what happens to the geometry of a data set as it passes through a neural network.

>>> from rra_cli import capture                          # dump the layers of any torch network
>>> from rra_cli.neighbors import exact_neighbors        # model a layer as a k-nearest-neighbour graph
>>> from rra_cli.metrics import nncs, nnls, twonn        # measure it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "capture"]

if TYPE_CHECKING:
    from rra_cli.activations.capture import capture


def __getattr__(name: str) -> Any:
    # Lazy, so that `rra --help` does not pay for importing torch.
    if name == "capture":
        from rra_cli.activations.capture import capture

        return capture
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
