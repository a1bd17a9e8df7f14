"""Helpers that tests share: servers, faults, made-up data, and the stages as commands."""
