"""Errors in plain words: of services, the operating system, validation, and text for a terminal."""
