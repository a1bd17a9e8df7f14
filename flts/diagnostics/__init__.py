"""Errors of services, the operating system and validation in plain words, and text that is safe for a terminal."""
