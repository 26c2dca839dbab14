"""The study of sample sizes and numbers of neighbours (docs/samples.md): nested subsets, lists, measures, tables."""
