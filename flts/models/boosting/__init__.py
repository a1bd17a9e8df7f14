"""Gradient boosting with LightGBM: features of recent rows, two views of the target's change, their mean."""
