"""The training loop, its checkpoints, optimisers and schedules."""
