#!/usr/bin/env python3
"""The command flts-dlq, which shows what workers gave up, and sends it again."""

from flts.workers.commands.dead_letters import main

if __name__ == "__main__":
    main()
