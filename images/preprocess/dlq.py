#!/usr/bin/env python3
"""The command flts-dlq, which shows what workers gave up, and sends it again."""

from flts.workers.dead_letters_command import main

if __name__ == "__main__":
    main()
