"""Makes a search begin with a given precision, which it otherwise chooses by size and by the speed of the machine.

Small sets are compared directly and never see tiles, rounding or certificates; here they do. This is the only place
of the oracle tests that knows how the search is built: `search.choose` returns a plan of products.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from rra_cli.neighbors.tiles import search
from rra_cli.neighbors.tiles.choice import Plan
from rra_cli.neighbors.tiles.products import Float, Int8, Product, RotatedInt8, TwiceInt8

PASSES: dict[str, tuple[type[Product] | type[np.floating], ...]] = {
    "direct": (),
    "int8": (Int8,),
    "int8, rotated": (RotatedInt8,),
    "2 x int8": (TwiceInt8,),
    "float32": (np.float32,),
    "float64": (np.float64,),
    "int8, 2 x int8, float64": (Int8, TwiceInt8, np.float64),
}


@contextmanager
def first_pass(name: str) -> Iterator[None]:
    """Every search inside begins with these products; what they leave undecided is compared directly."""
    products = tuple(part() if issubclass(part, Product) else Float(part) for part in PASSES[name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "choose", lambda *_, **__: Plan(products))
        yield
