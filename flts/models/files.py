"""The files of a model bundle: their names and largest sizes, in bytes."""

from flts.boundary.untrusted import LARGEST_DOCUMENT

CONFIG_FILE = "config.json"
SCALER_FILE = "scaler.json"
CHECKSUMS_FILE = "checksums.json"
MEMBERS_FOLDER = "members"  # of the bundle of an ensemble: a bundle in ``members/<slot>`` for each of its models

# Checksums are three lines; configuration and scaler hold some 150 bytes per column, so that 100,000 columns fit.
LARGEST_DOCUMENTS = {CHECKSUMS_FILE: 64 << 10, CONFIG_FILE: LARGEST_DOCUMENT, SCALER_FILE: LARGEST_DOCUMENT}
# Of the model file, by its ending. 1 GiB of weights is the largest network (``network.LARGEST_NETWORK``), and 1 MiB is
# left for its header. Prophet keeps some 200 bytes per row of each target: 512 MiB are 2.5 million rows. Not more,
# because malicious JSON takes 30 times its size in memory.
LARGEST_MODEL = {".safetensors": (1 << 30) + (1 << 20), ".json": 512 << 20}
