"""Training: fit, score, bundle, record."""
