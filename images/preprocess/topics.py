#!/usr/bin/env python3
"""The command flts-topics, which makes Kafka's topics."""

from flts.workers.commands.topics import main

if __name__ == "__main__":
    main()
