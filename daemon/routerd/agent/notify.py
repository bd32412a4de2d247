"""Telling systemd how the daemon is. Without systemd every call does nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import MutableMapping

import anyio


class Notifier:
    """Speaks systemd's notification protocol to the socket that ``environ`` names.

    Its variables are taken out of ``environ``, for they are not meant for children.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        period = environ.pop("WATCHDOG_USEC", "")
        environ.pop("WATCHDOG_PID", None)
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_s = int(period) / 1e6 if address and period.isdigit() else None

    def ready(self) -> None:
        """It answers; also after `reloading`."""
        self._send("READY=1")

    def reloading(self) -> None:
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    async def feed(self) -> None:
        """Feed the watchdog, if there is one, from the event loop: once that hangs, the feeding ends."""
        if self._watchdog_s is None:
            return
        while True:
            self._send("WATCHDOG=1")
            await anyio.sleep(self._watchdog_s / 3)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
                notify.setblocking(False)
                notify.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            pass  # systemd is restarting or overrun; the next word will reach it
