"""A disk that hangs: a file system whose server answers nothing, as a network folder's whose server is gone.

Run as a program, it mounts one at a folder that nobody else sees it at, and becomes the program it is given.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
import time
from pathlib import Path

import pytest

from .small_disk import own_mounts

INIT = 26
HEADER, VERSION = struct.Struct("<IIQ"), struct.Struct("<IIII")
ANSWER = struct.Struct("<IiQ")


def with_hung(folder: Path) -> list[str]:
    """Return what starts a program for which ``folder`` hangs for ever. Skips where nothing may be mounted."""
    if not Path("/dev/fuse").exists():
        pytest.skip("a disk that hangs needs Linux's /dev/fuse")
    return [*own_mounts(folder), sys.executable, "-m", __name__, str(folder)]


def main(folder: str, *command: str) -> None:
    disk = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={disk},rootmode=40000,user_id=0,group_id=0"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"hung", os.fsencode(folder), b"fuse", 0, options.encode()):
        sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
    parent = os.getpid()
    if os.fork():
        os.close(disk)
        os.execv(command[0], command)
    greet(disk)
    while os.getppid() == parent:  # what is asked is never read, so that whoever asks can be killed
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)


def greet(disk: int) -> None:
    """Answer the kernel's first question, without which it refuses all others instead of waiting."""
    asked = os.read(disk, 1 << 20)
    _length, operation, number = HEADER.unpack_from(asked)
    assert operation == INIT
    _major, _minor, ahead, _flags = VERSION.unpack_from(asked, 40)
    body = struct.pack("<IIIIHHIIHHI", 7, 31, ahead, 0, 12, 12, 131072, 1, 0, 0, 0) + bytes(28)
    os.write(disk, ANSWER.pack(ANSWER.size + len(body), 0, number) + body)


if __name__ == "__main__":
    main(*sys.argv[1:])
