"""Benchmarks of the figures that the project promises: `make bench`."""
