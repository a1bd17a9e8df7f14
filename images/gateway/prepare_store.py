#!/usr/bin/env python3
"""The command flts-prepare-store, for which the gateway's image has all that is needed."""

from flts.administration.prepare_store import main

if __name__ == "__main__":
    main()
