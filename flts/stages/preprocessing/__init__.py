"""Preprocessing: cleans a dataset and adds features."""
