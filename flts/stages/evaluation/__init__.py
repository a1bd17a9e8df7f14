"""Evaluation: the trained models compared, the best promoted."""
