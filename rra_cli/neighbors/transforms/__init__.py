"""What can be done to activations before a search."""
