"""Live forecasts over HTTP: the promoted model, watched and swapped; ``flts-inference --serve``."""
