"""Forecasters: recurrent networks, Prophet, baselines, and the bundle they are saved in."""
