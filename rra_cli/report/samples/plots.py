"""The plots of a sample study: which there are, what they are called, and how to read them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

from rra_cli.report.glossary import CLASS_SIMILARITY, INTRINSIC_DIMENSION
from rra_cli.report.panels import panels_told
from rra_cli.report.plot import Plot, interval_kind, parts, where
from rra_cli.report.run import Run
from rra_cli.report.samples.curves import (
    along_layers_figure,
    by_neighbors_figure,
    by_size_figure,
    mu_figure,
    similarity_figure,
)
from rra_cli.report.samples.maps import (
    densities,
    shown_of,
    sim_by_neighbors_figure,
    sim_by_samples_figure,
    similarity_sheet,
)
from rra_cli.report.samples.view import Place
from rra_cli.report.style import file_name

_ERRORS = "±1.96 standard errors, which take samples for independent"
_ENDS = "Hollow: k = N − 1, where every other sample is a neighbour, by definition."


def sample_plots(run: Run) -> Iterator[Plot]:
    """Every plot of a sample study; none where the run has no such tables."""
    if run.tables.samples is None and run.tables.samples_nnls is None:
        return
    for split, variant in product(run.splits, run.variants):
        here = (run, run.main_checkpoint, split, variant)
        place, told, main = Place(*here), where(*here), variant in run.plain_variants
        name = parts(*here)
        for metric in () if run.tables.samples is None else map(str, run.tables.samples["metric"].unique()):
            term = run.term(metric)
            if term.component == INTRINSIC_DIMENSION.component:
                yield Plot(
                    file_name(metric, "samples", *name),
                    f"{term.short} by the number of samples{told}",
                    f"{term.short} of nested subsets. A line that still rises or falls at its end: the value depends "
                    f"on how many samples there are. {_band(place, metric)}",
                    partial(by_size_figure, place, metric),
                    main,
                )
                yield Plot(
                    file_name(metric, "samples_layers", *name),
                    f"{term.short} along the layers by the number of samples{told}",
                    f"The same along the layers, a line a number of samples. {_band(place, metric)}",
                    partial(along_layers_figure, place, metric),
                    main,
                )
                yield Plot(
                    file_name(metric, "samples_mu", *name),
                    f"Distribution of μ by the number of samples{told}",
                    "Density of μ, the ratio of the second to the first neighbour distance, up to its 95 % quantile; "
                    "dashed: the law d μ^−(d+1) that TwoNN assumes, with the d of the largest N. Each panel has its "
                    f"own axes. {panels_told(len(place.layers(place.rows(run.tables.samples_mu))), 'samples_mu')}"
                    "".strip(),
                    partial(mu_figure, place, metric),
                    main,
                )
            elif term.component == CLASS_SIMILARITY.component:
                yield Plot(
                    file_name(metric, "samples", *name),
                    f"{term.short} by the number of neighbours{told}",
                    f"A panel a number of samples. {_ENDS} It is then the chance level (dotted). "
                    f"{_band(place, metric)}",
                    partial(by_neighbors_figure, place, metric),
                    main,
                )
        yield from _similarities(place, name, told, main)


def _band(place: Place, metric: str) -> str:
    """What the bands are; intervals are searched for all of the measured samples, at the run's k alone."""
    run, rows = place.run, place.of_metric(metric)
    known = rows[rows["low"].notna()]
    if known.empty:
        asked = f"; intervals of all samples are in the plots of {run.term(metric).short} along the layers"
        return f"Bands: {_ERRORS}{asked if run.has_intervals(metric) else ''}."
    k = "" if run.term(metric).is_dimension else f", k = {', '.join(f'{k:,}' for k in sorted(known['k'].unique()))}"
    at = f"N = {int(known['n_samples'].max()):,}{k}"
    return f"Bands: at {at} {interval_kind(run)}, elsewhere {_ERRORS}."


def _similarities(place: Place, name: tuple[str, ...], told: str, main: bool) -> Iterator[Plot]:
    if place.run.tables.samples_nnls is None:
        return
    yield Plot(
        file_name("nnls_samples", *name),
        f"Layer similarity by samples and neighbours{told}",
        "The mean NNLS of consecutive layers, left by k, right by the density k / N: where lines of different N lie on "
        f"each other on the right, the density and not k decides. {_ENDS} Dotted: chance level.",
        partial(similarity_figure, place),
        main,
    )
    found = list(densities(place))
    some = f" Of {len(found)} densities {len(shown_of(found))} are shown." if len(shown_of(found)) < len(found) else ""
    yield Plot(
        file_name("nnls_samples_maps", *name),
        f"Layer similarity for every N and density{told}",
        "Layer × layer maps, a row a number of samples, a column a density k / N. Maps of a column that look alike: "
        f"fewer samples tell the same; the last column, k = N − 1, is 1 by definition.{some}",
        partial(similarity_sheet, place),
        main,
    )
    yield Plot(
        file_name("nnls_sim_neighbors", *name),
        f"NNLS_SIM between numbers of neighbours{told}",
        "How much two maps of layer similarities differ (mean Jensen-Shannon divergence of their cells, each taken as "
        "a probability; 0: equal, despite the name), at a fixed number of samples; k = N − 1 is 1 everywhere, by "
        "definition.",
        partial(sim_by_neighbors_figure, place, "bernoulli"),
        main,
    )
    yield Plot(
        file_name("nnls_sim_samples", *name),
        f"NNLS_SIM between numbers of samples{told}",
        "The same between numbers of samples at equal density k / N; at k / N = 1 (k = N − 1) all maps are 1 and the "
        "divergence 0, by definition.",
        partial(sim_by_samples_figure, place, "bernoulli"),
        main,
    )
