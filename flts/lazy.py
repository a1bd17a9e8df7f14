"""Things named by text, so that naming them imports nothing."""

from importlib import import_module
from typing import Any


def resolve(name: str) -> Any:
    """Import what ``"module:name"`` names."""
    module, attribute = name.split(":")
    return getattr(import_module(module), attribute)
