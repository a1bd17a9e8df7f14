#!/usr/bin/env python3
"""The command flts-train-prophet."""

from flts.runtime import main
from flts.stages import TRAIN_PROPHET

if __name__ == "__main__":
    main(TRAIN_PROPHET)
