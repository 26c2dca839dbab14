"""The plots of the pullback metrics (docs/pullback.md): lines, planes and grids."""
