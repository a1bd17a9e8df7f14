"""A service as a process of its own: where it listens, and what it says."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Thread


@contextmanager
def listening(
    command: Sequence[str], environ: Mapping[str, str]
) -> Iterator[tuple[str, "subprocess.Popen[str]", list[str]]]:
    """Run a service until the block ends; gives its address, its process and the lines that it writes, as they come.

    When the block has ended, all lines are there.
    """
    process = subprocess.Popen(command, env={"PATH": os.environ["PATH"], **environ}, stderr=subprocess.PIPE, text=True)
    stderr = process.stderr
    assert stderr
    said: list[str] = []
    reader = Thread(target=lambda: said.extend(iter(stderr.readline, "")), daemon=True)
    try:
        for line in stderr:
            said.append(line)
            if found := re.match(r"listening on (http://\S+)", line):
                break
        else:
            raise AssertionError("".join(said))
        reader.start()
        yield found[1].replace("0.0.0.0", "127.0.0.1"), process, said  # noqa: S104
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        finally:
            process.kill()
            if reader.ident:
                reader.join(timeout=30)
            stderr.close()
            process.wait()
