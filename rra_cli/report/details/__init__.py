"""What metrics of layers tell beside their values: distributions, spectra, dimension by scale, class by class."""
