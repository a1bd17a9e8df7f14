"""Preprocess: a dataset in, processed data out."""
