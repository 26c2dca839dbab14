"""What the columns of pullback.csv are, for the report."""

from __future__ import annotations

from rra_cli.report.term import Term

_VOLUMES = "Zavatone-Veth et al. (2023), Neural networks learn to magnify areas near decision boundaries"
# Terms by the columns that they explain.
PULLBACK_TERMS: dict[Term, list[str]] = {
    Term(
        "log volume",
        "log √det g, natural, of g = JᵀJ with J the Jacobian of the layer at an input: the sum of the logarithms of "
        "the r largest singular values of J (directions); the mean over points. Plots show log10, log_volume / 2.303.",
        "By how much the layer magnifies small volumes of its input space. Compare it at equal r only: of points, "
        "checkpoints and runs.",
        _VOLUMES,
    ): ["log_volume", "directions"],
    Term(
        "near and far",
        "The share (near, by default a quarter) of each line's or plane's points whose predictions have the highest "
        "entropy, or the smallest margin, is near a decision boundary, as large a share at the other end far from it. "
        "difference: mean log volume near minus far, in nats, a mean over lines or planes, with a 95 % t interval "
        "(low, high), its p, and p_free by random signs.",
        "Above 0: volumes are larger near boundaries.",
    ): ["difference", "p", "p_free"],
    Term(
        "ratio",
        "exp(difference / r): stretch of the mean direction near boundaries over that far from them.",
        "Above 1: boundaries are magnified; below 1: shrunk. Over another r it is another number.",
    ): ["ratio", "ratio_low", "ratio_high"],
    Term(
        "gain",
        "The same difference of what log volumes have gained since the first checkpoint at the same points, in nats.",
        "Above 0: training magnified boundaries; near 0: they were as magnified before.",
    ): ["gain"],
    Term(
        "local r",
        "Mean correlation, within a line or plane, of log volume and uncertainty, both without their quadratic trend.",
        "Above 0: volumes follow the boundary itself, not only the middle of lines and planes, where blends are.",
    ): ["local_r"],
}
CURVATURE = Term(
    "scalar curvature",
    "R = 2 K, K the Gaussian curvature of the surface that the layer makes of the plane; the median over points.",
    "Positive as on a sphere (2 / radius²), negative as on a saddle; 0 for piecewise linear networks (ReLU).",
    _VOLUMES,
)


def pullback_terms(curved: bool) -> dict[Term, list[str]]:
    """Those of a run with pullback metrics. curved: curvatures were measured, too."""
    return PULLBACK_TERMS | ({CURVATURE: ["curvature"]} if curved else {})
