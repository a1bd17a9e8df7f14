"""Checks of everything that comes from outside: documents, files, environment variables, arguments, paths, services."""
