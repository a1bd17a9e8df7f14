#!/usr/bin/env python3
"""The command flts-acls, which allows Kafka users what workers need."""

from flts.workers.commands.acls import main

if __name__ == "__main__":
    main()
