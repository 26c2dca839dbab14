"""Alterations of what is measured: the same seeded change of the same samples for every network and checkpoint."""
