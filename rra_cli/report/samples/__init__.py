"""The plots of a sample study (docs/samples.md): curves and maps by numbers of samples and of neighbours."""
