"""The ensemble: the equal-weight mean of several trained models, in a bundle that holds theirs."""
