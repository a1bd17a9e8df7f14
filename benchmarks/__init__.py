"""The figures that the project promises, measured: `make bench`."""
