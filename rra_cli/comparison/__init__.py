"""Finished runs side by side: read, grouped by what differs, aggregated over seeds, compared with each other.

`find` and `runs` read folders, `groups` tells configurations apart, `curves` aggregates what each run measured by
itself, `contrasts` what layers and splits of one network differ by, `accuracies` how well it does, `paired` compares
the neighbours that models find for the same samples, `correlation` relates columns, `statistics` holds the formulas.
`compare` walks them.
"""

from __future__ import annotations
