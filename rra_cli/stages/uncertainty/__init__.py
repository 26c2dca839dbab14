"""Intervals and null distributions of what a run measures: stages, and what tables say of them."""
