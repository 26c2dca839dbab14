"""The pullback metrics of a network: the stage that measures them, its costs, and the tables of a run."""
