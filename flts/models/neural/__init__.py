"""Training that every neural network needs: the device, the optimizer, the loop."""
