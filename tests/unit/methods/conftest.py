"""Tests here import lightly, which imports torchvision, whose compiled part may be built for another torch."""

from __future__ import annotations

from rra_cli.data.torchvision_import import declare_operators

declare_operators()
