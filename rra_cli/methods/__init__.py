"""Training methods: one objective a file."""
