#!/usr/bin/env python3
"""The command flts-status, which shows how far each dataset is."""

from flts.workers.commands.status import main

if __name__ == "__main__":
    main()
