"""Checks of everything from outside: documents, files, environment variables, arguments, paths and services."""
