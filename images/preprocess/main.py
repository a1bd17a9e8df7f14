#!/usr/bin/env python3
"""The command flts-preprocess."""

from flts.commands import main

if __name__ == "__main__":
    main("preprocess")
