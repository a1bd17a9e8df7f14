#!/usr/bin/env python3
"""The command flts-inference."""

from flts.commands import inference

if __name__ == "__main__":
    inference()
