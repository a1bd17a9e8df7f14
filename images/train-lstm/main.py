#!/usr/bin/env python3
"""The command flts-train-lstm."""

from flts.runtime import main
from flts.stages import STAGES

if __name__ == "__main__":
    main(STAGES["train-lstm"])
