"""Sockets that a service manager listens on for us, so that a client's first call starts the daemon."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import MutableMapping
from errno import ENOENT, ESRCH

NAME = "ctl"
"""What the socket is called in the plist and in the unit."""

_FIRST = 3  # systemd's descriptors follow the standard three


def activated(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """The listening sockets that launchd or systemd has for this process; none where neither started it so.

    The variables that told of them are taken out of ``environ``: they are not meant for children. To be
    called once in a process. Raises ``OSError`` where launchd has them and does not give them.
    """
    return [_adopt(number) for number in _from_systemd(environ) or _from_launchd()]


def _from_systemd(environ: MutableMapping[str, str]) -> list[int]:
    pid, count, names = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    named = names.split(":") if names else [NAME] * int(count)
    return [_FIRST + index for index, name in enumerate(named) if name == NAME]


def _from_launchd() -> list[int]:
    process = ctypes.CDLL(None)  # on macOS every process has the function, elsewhere none
    try:
        activate, free = process.launch_activate_socket, process.free
    except AttributeError:
        return []
    descriptors, count = ctypes.POINTER(ctypes.c_int)(), ctypes.c_size_t()
    error = activate(NAME.encode(), ctypes.byref(descriptors), ctypes.byref(count))
    if error in (ENOENT, ESRCH):
        return []  # no socket in the plist; not launchd's child
    if error:
        raise OSError(error, f"launchd does not give its socket: {os.strerror(error)}")
    try:
        return descriptors[: count.value]
    finally:
        free(descriptors)


def _adopt(number: int) -> socket.socket:
    given = socket.socket(fileno=number)
    given.set_inheritable(False)
    given.setblocking(False)
    return given
