"""References to functions and classes by text, so that declaring them imports nothing."""

from importlib import import_module
from typing import Any


def resolve(name: str) -> Any:
    """Import and return the object named by ``"module:name"``."""
    module, attribute = name.split(":")
    return getattr(import_module(module), attribute)
