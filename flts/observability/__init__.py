"""Logs without secrets, request ids, exit codes, and the time that a process has to shut down."""
