"""The only way by which torchvision is imported here.

torchvision's compiled part is built for one torch. Beside another (a CUDA build beside a CPU-only torch, say) it does
not load, and `import torchvision` then dies with "operator torchvision::nms does not exist", although nothing that we
use is compiled. Declaring the two operators' schemas first cures it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")

# The declarations live as long as this object.
_declared: list[Any] = []


def import_torchvision() -> ModuleType:
    """The module torchvision, with `torchvision.datasets` and `torchvision.transforms.v2` imported."""
    declare_operators()
    import torchvision
    import torchvision.transforms.v2  # `import torchvision` leaves v2 out

    return torchvision


@cache
def declare_operators() -> bool:
    """Declare torchvision's operators where its extension cannot be loaded; True if that was needed.

    To be called before anything imports torchvision (another package's import of it included).
    """
    import torch

    if _extension_loads() or all(hasattr(torch.ops.torchvision, name) for name in _OPERATORS):
        return False
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in _OPERATORS:
        library.define(name + _SCHEMA)
    _declared.append(library)
    return True


def _extension_loads() -> bool:
    """Whether torchvision's compiled part can be loaded into this torch (it stays loaded)."""
    import torch

    spec = importlib.util.find_spec("torchvision")  # finds a top-level package without importing it
    if spec is None or spec.origin is None:
        return True  # not installed: let its import say so
    loaders = (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES)
    extension = importlib.machinery.FileFinder(str(Path(spec.origin).parent), loaders).find_spec("_C")
    if extension is None or extension.origin is None:
        return False
    try:
        torch.ops.load_library(extension.origin)
    except OSError:
        return False
    return True
