"""What a run says of volumes: points without one, directions that rounding decides, and which metric has a fault."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rra_cli.core.progress import Reporter
from rra_cli.errors import UserError
from rra_cli.metrics.pullback import Pullback
from rra_cli.stages.pullback.blocks import by_rounding
from rra_cli.stages.results import Measured


@contextmanager
def naming(key: str) -> Iterator[None]:
    """A user's fault within it begins with the key of the metric that it is one of: a run may have several."""
    own = f"metrics.{key}"
    try:
        yield
    except UserError as fault:
        if fault.message.startswith(own):
            raise
        raise UserError(f"{own}: {fault.message}", fault.hint) from fault


def tell(reporter: Reporter, title: str, layers: Sequence[Measured], metric: Pullback) -> None:
    """Warns of points without a volume, and notes layers whose number of directions is that of the rounding error."""
    for layer in layers:
        rank = layer.arrays["rank"]
        for missing, why in ((rank == 0, "the layer is constant there (rank 0)"), (rank < 0, "J is not finite")):
            if missing.any():
                reporter.warn(f"{title}: {layer.figures['layer']} has no volume at {missing.sum():,} points: {why}")
    told = [
        f"{each['layer']} ({each['directions']} of {min(each['n_inputs'], each['n_features']):,})"
        for each in (layer.figures for layer in layers)
        if by_rounding(each["directions"], each["n_inputs"], each["n_features"], metric.top)
    ]
    if told:
        reporter.note(
            f"{title}: the rounding error of {metric.dtype} decides over how many directions volumes are: "
            f"{', '.join(told)}; set top lower to choose them"
        )
