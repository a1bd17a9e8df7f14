#!/usr/bin/env python3
"""The command flts-pipeline: every stage in this container, over the services that its options name."""

import sys

from pipeline.runner.command import main

if __name__ == "__main__":
    sys.exit(main(["--home", "/runs", *sys.argv[1:]]))
