#!/usr/bin/env python3
"""The command flts-train-lightgbm."""

from flts.commands import main

if __name__ == "__main__":
    main("train-lightgbm")
