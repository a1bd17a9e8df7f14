#!/usr/bin/env python3
"""The command flts-train-gru."""

from flts.runtime import main
from flts.stages import STAGES

if __name__ == "__main__":
    main(STAGES["train-gru"])
