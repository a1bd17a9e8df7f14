"""Runs the compiled pipeline on one machine, in processes or in containers."""
