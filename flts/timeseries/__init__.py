"""Time series: frames, cleaning, features, scaling, windows, metrics."""
