"""Data sets, measured subsets and augmentation."""
