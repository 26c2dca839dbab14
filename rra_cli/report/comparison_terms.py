"""What is known of the metrics of neighbourhoods and dimension beside the thesis's own, and of the baselines."""

from __future__ import annotations

from rra_cli.report.term import DIMENSIONS, RRA, Term

_BASELINE = "Blind to neighbourhoods: it compares how the samples lie as a whole, large distances first. "
_DEGREES = "How many directions the data locally extends in: higher is more degrees of freedom"
COMPARISON_TERMS = (
    Term(
        "linear HSIC",
        "tr(K H L H) / (n − 1)² of the layers' linear kernels K, L, H taking out the mean (biased); or its unbiased "
        "estimator.",
        f"{_BASELINE}From 0 for unrelated layers upwards, in units of both variances: compare it by way of CKA.",
        "Gretton et al. (2005), ALT; Song et al. (2012), JMLR 13, eq. 5",
        component="hsic",
        short="HSIC",
        unit="product of the layers' variances",
    ),
    Term(
        "linear CKA",
        "HSIC of two layers divided by the root of the product of each layer's HSIC with itself.",
        f"{_BASELINE}1 for layers that differ by rotation and scale; the biased one has a chance level above 0, which "
        "grows with features per sample.",
        "Kornblith et al. (2019), ICML, eq. 4; debiased as in the authors' code",
        component="cka",
        short="CKA",
        high=1.0,
    ),
    Term(
        "canonical correlation",
        "CCA: the mean (or mean square) of the canonical correlations of all dimensions of two layers.",
        "1 for layers that are invertible linear maps of one another; 1 whatever they hold where a layer has as many "
        "features as samples: look at its chance level.",
        "Kornblith et al. (2019), ICML, table 1; Raghu et al. (2017), NeurIPS",
        component="cca",
        short="CCA",
        low=0.0,
        high=1.0,
    ),
    Term(
        "SVCCA",
        "The mean canonical correlation of the directions that hold 99 % of each layer's variance.",
        "1 where those directions are linear maps of one another; higher chance levels for more directions.",
        "Raghu et al. (2017), NeurIPS, sec. 2",
        component="svcca",
        short="SVCCA",
        low=0.0,
        high=1.0,
    ),
    Term(
        "neighbourhood overlap",
        "χ: the fraction of a sample's k nearest neighbours in one layer that it has in another, in the mean; "
        "rank-aware forms average it over the prefixes of the lists, evenly or with the first ranks counting most.",
        "From chance level k / (N − 1) (the layers arrange the data differently) to 1 (the same neighbours).",
        "Doimo et al. (2020), NeurIPS, eq. 1; Fagin et al. (2003); Webber et al. (2010) (rank-biased)",
        component="overlap",
        short="overlap",
        low=0.0,
        high=1.0,
    ),
    Term(
        "persistence of neighbours",
        "The fraction of the k neighbours in one layer that stay neighbours in every layer up to another (alive); or "
        "of those gained in the one and lost after the other (runs).",
        "A bright block is a group of layers in which neighbours stay together without a break; below the overlap of "
        "the two layers, what left has come back.",
        f"{RRA}, sec. 8.3.3",
        component="persistence",
        short="persistence",
        low=0.0,
        high=1.0,
    ),
    Term(
        "hubness",
        "Skewness of N_k, the number of samples that have a sample among their k nearest neighbours.",
        "0 where all samples are as popular; large where few hubs are neighbours of many, as in many dimensions.",
        "Radovanović et al. (2010), JMLR 11",
        component="hubness",
        short="hubness",
        unit="skewness",
    ),
    Term(
        "information imbalance",
        "Δ(a → b) = 2 / N times the mean rank, among all others in b, of each sample's nearest neighbour in a.",
        "Row a, column b. Near 0: layer a tells who is near in b; 1: it says nothing of it. Where one direction is "
        "small and the other large, the first layer holds what the second does and more.",
        "Glielmo et al. (2022), PNAS Nexus 1, eq. 3",
        component="information_imbalance",
        short="Δ",
        low=0.0,
    ),
    Term(
        "label overlap",
        "The fraction of a sample's k nearest neighbours that share its attribute: the same category, or a quantity "
        "within a tolerance; or the mean absolute difference relative to that of all pairs.",
        "From chance level (neighbours know nothing of the attribute) to 1; of differences from 1 (chance) to 0.",
        "Doimo et al. (2020), NeurIPS, for any labelling",
        component="label_overlap",
        low=0.0,
    ),
    Term(
        "intrinsic dimension",
        "TwoNN of all samples, and of disjoint random halves, quarters, eighths ... of them (decimation).",
        f"{_DEGREES}.",
        "Facco et al. (2017), Scientific Reports 7:12140; Ansuini et al. (2019), NeurIPS",
        component="decimation",
        short="ID TwoNN",
        unit=DIMENSIONS,
        low=0.0,
        over_scales="Where the curve over N is flat the dimension does not depend on the scale; where it rises, N is "
        "too small for it and the value is a lower bound.",
    ),
    Term(
        "intrinsic dimension",
        "Gride: maximum likelihood from the ratio of the distances to a farther neighbour and to one of half its rank.",
        f"{_DEGREES}, at the scale of the farther neighbour.",
        "Denti et al. (2022), Scientific Reports 12:20005",
        component="gride",
        short="ID Gride",
        unit=DIMENSIONS,
        low=0.0,
        over_scales="A curve that rises towards small ranks is noise, one that falls towards large ranks is curvature "
        "or the edge of the data.",
    ),
    Term(
        "linear dimension",
        "PCA: the principal components that hold 90 % of the variance, or the participation ratio (tr C)² / tr C² of "
        "the covariance C.",
        "How many directions the samples as a whole take up; far above the intrinsic dimension where they lie on "
        "something curved.",
        "Ansuini et al. (2019), NeurIPS, fig. 5",
        component="pca_dimension",
        short="PCA dimension",
        unit="linear dimensions",
        low=1.0,
    ),
)
# What columns of these metrics are called by, where a run does not say what they hold.
PREFIXES = {
    **{"hsic": "hsic", "cka": "cka", "cca": "cca", "svcca": "svcca", "overlap": "overlap"},
    **{"persistence": "persistence", "hubness": "hubness", "information_imbalance": "information_imbalance"},
    **{"id_gride": "gride", "id_decimation": "decimation", "pca_dimension": "pca_dimension"},
}
