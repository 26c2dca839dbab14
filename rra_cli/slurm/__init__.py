"""SLURM: what a sweep's folder keeps of its array tasks, and what SLURM says of them. docs/sweeps.md, "Under SLURM"."""
