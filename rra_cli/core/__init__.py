"""The store, stages, run folders and component registry: knows nothing of networks, neighbours or metrics."""
