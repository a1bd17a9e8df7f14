"""Request ids, events on stderr, and last messages at shutdown."""
