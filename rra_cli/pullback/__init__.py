"""The geometry of the map from inputs to a layer: pullback metric, volume element, curvature."""
