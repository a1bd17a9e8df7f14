"""What the operating system refused, told from bugs."""

import errno
import os
from pathlib import Path

from flts.diagnostics import system


def test_a_full_disk_is_told_from_a_bug_through_the_chain_of_causes():
    wrapped = RuntimeError("saving failed")
    wrapped.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/model")
    assert system.environment_trouble(wrapped) == "out/model: no space left on device"
    assert system.environment_trouble(wrapped, Path("out")) == (
        "--output-dir out cannot be written: no space left on device"
    )
    assert system.environment_trouble(wrapped, Path("other")) == "out/model: no space left on device"
    assert system.environment_trouble(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert system.environment_trouble(FileNotFoundError(errno.ENOENT, "No such file")) is None
    assert system.environment_trouble(ValueError("a bug")) is None


def test_too_little_memory_is_told_from_a_bug_however_a_library_says_it():
    said = "there is not enough memory: give it more, take fewer rows, or a smaller model"
    torch = RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: ...")
    for error in (MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory"), torch):
        assert system.environment_trouble(error, Path("out")) == said
