"""The reason why a process ended, where Kubernetes shows it: in the status of its pod, and so in KFP and Argo."""

import os
import stat
from contextlib import suppress

from flts.diagnostics.terminal import printable
from flts.observability.redaction import redact

VARIABLE = "FLTS_TERMINATION_LOG"
_DEFAULT = "/dev/termination-log"
_MOST_BYTES = 4096  # Kubernetes cuts what is longer


def write_termination_log(sentence: str) -> None:
    """Write why the process ends to the termination log, without secrets.

    The log is never made: only containers of Kubernetes have one. Nothing happens where it cannot be written.
    """
    text = printable(" ".join(redact(sentence).split())).encode()[:_MOST_BYTES].decode(errors="ignore")
    with suppress(OSError, ValueError):
        # Without waiting for a reader, were it a pipe.
        file = os.open(os.environ.get(VARIABLE) or _DEFAULT, os.O_WRONLY | os.O_NONBLOCK)
        try:
            if stat.S_ISREG(os.fstat(file).st_mode):
                os.truncate(file, 0)
                os.write(file, text.encode())
        finally:
            os.close(file)
