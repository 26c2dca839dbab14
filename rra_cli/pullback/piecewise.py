"""Which networks are piecewise linear: their image is made of flat pieces, and its curvature zero almost everywhere."""

from __future__ import annotations

from torch import nn

from rra_cli.models.parts import GlobalAveragePool, Scale, Sum
from rra_cli.models.resnet import BasicBlock, PadShortcut

# Linear in evaluation mode, or linear on each piece of their input. Exact types: a subclass may do anything.
_PIECES = (
    *(nn.Identity, nn.Flatten, nn.Unflatten, nn.Linear),
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
    *(nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ReLU6, nn.Threshold, nn.Hardtanh, nn.Hardsigmoid),
    *(nn.Hardshrink, nn.Softshrink),
    *(nn.ZeroPad1d, nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d),
    *(nn.PixelShuffle, nn.PixelUnshuffle, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d, nn.Upsample),
    *(GlobalAveragePool, Scale, Sum, PadShortcut),
)
# Their forward pass only puts their children one after the other, or adds a shortcut.
_CONTAINERS = (nn.Sequential, BasicBlock)


def is_piecewise_linear(module: nn.Module) -> bool:
    """Whether the network's modules say that it is piecewise linear in evaluation mode.

    False also where a module is not known, as it may do anything in its own forward pass; the derivatives then tell,
    which vanish exactly on flat pieces.
    """
    return all(type(part) in _PIECES or type(part) in _CONTAINERS for part in module.modules())
