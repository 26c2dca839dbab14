"""What is known of the figures that hold altered copies against their samples (`invariance.csv`)."""

from __future__ import annotations

from rra_cli.report.term import RRA, Term

_PROPOSED = f"proposed in {RRA}, 8.3.1"
COPY_TERMS = {
    "copy_distance": Term(
        "distance of a copy",
        "Mean Euclidean distance between a sample and its altered copy, divided by the mean distance of two different "
        "samples.",
        "0: the layer is invariant to the alteration. Dotted: a copy is as far from its sample as that of any other "
        "sample.",
        _PROPOSED,
        component="copy_distance",
        short="distance of a copy",
        low=0.0,
    ),
    "copy_distance_median": Term(
        "distance of a copy (median)",
        "The same with the median distance of the copies: a few samples that move far do not change it.",
        "0: half of the samples do not move at all. Dotted: with the copy of any other sample.",
        _PROPOSED,
        component="copy_distance_median",
        short="distance (median)",
        low=0.0,
    ),
    "copy_cosine": Term(
        "cosine of a copy",
        "Mean cosine between the activations of a sample and of its altered copy, not centred.",
        "1: the copy lies in the same direction. Dotted: with the copy of any other sample.",
        _PROPOSED,
        component="copy_cosine",
        short="cosine of a copy",
        high=1.0,
    ),
    "copy_nnls": Term(
        "NNLS to the copies",
        "Inter-NNLS: intersection over union of the k nearest neighbours of a sample among the samples and of its copy "
        "among the copies, in the same layer.",
        "1: all copies moved together, neighbourhoods are as they were. Dotted: chance level.",
        f"{RRA}, eq. 3.3; {_PROPOSED}",
        component="copy_nnls",
        short="NNLS to the copies",
        low=0.0,
        high=1.0,
    ),
    "copy_overlap": Term(
        "overlap with the copies",
        "The fraction of a sample's k nearest neighbours whose copies are neighbours of its copy, in the same layer.",
        "1: neighbourhoods are as they were. Dotted: chance level.",
        "Doimo et al. (2020), NeurIPS, eq. 1",
        component="copy_overlap",
        short="overlap with copies",
        low=0.0,
        high=1.0,
    ),
}
