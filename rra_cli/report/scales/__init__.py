"""The plots of a run at several pooling scales: curves and maps."""
