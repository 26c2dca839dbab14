"""The report of a comparison of runs: its tables, plots and page."""
