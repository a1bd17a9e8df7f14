"""What services over HTTP share: observing requests, limits, errors in plain words, and starting a server."""
