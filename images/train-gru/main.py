#!/usr/bin/env python3
"""The command flts-train-gru."""

from flts.runtime import main
from flts.stages import TRAIN_GRU

if __name__ == "__main__":
    main(TRAIN_GRU)
