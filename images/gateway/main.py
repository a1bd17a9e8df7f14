#!/usr/bin/env python3
"""The command flts-gateway."""

from flts.gateway.command import main

if __name__ == "__main__":
    main()
