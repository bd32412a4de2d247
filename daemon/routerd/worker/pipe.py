"""The worker's end of the socket: one thread reads into the inbox, one writes what the engine sends."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any

import msgspec

from routerd_client.framing import FrameBuffer, FrameTooLongError, pack
from routerd_client.records import FailureKind

from .. import wire
from ..wire import Failed, FromWorker, Stop, ToWorker, encoder

RECEIVE_BYTES = 256 * 1024
OUTBOX_BYTES = 1024 * 1024
"""How much may wait for the daemon before the engine does."""


class Undecodable(msgspec.Struct, frozen=True):
    """A message whose id could be read and whose rest could not."""

    id: int
    reason: str


Inbox = SimpleQueue[Any]
"""What the engine's thread waits on: messages of the daemon, and results of the prepare thread."""


def decode(frame: bytes) -> ToWorker | Undecodable | None:
    """The message in ``frame``; `Undecodable` where only its id makes sense, ``None`` where nothing does."""
    try:
        return wire.decode(frame)
    except (msgspec.DecodeError, RecursionError) as exc:
        return _salvage(frame, str(exc))


def _salvage(frame: bytes, reason: str) -> Undecodable | None:
    try:
        loose = msgspec.msgpack.decode(frame)
        return Undecodable(loose["id"], reason) if isinstance(loose["id"], int) else None
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError):
        return None


def start_reader(sock: socket.socket, inbox: Inbox, leave: Callable[[int], Any] = os._exit) -> None:
    """Feed ``inbox`` from ``sock`` on a thread. `Stop`, and the end of the socket, leave the process.

    The thread leaves by itself and asks nobody: the main thread may be deep in an import or a prefill.
    """
    threading.Thread(target=_read, args=(sock, inbox, leave), name="reader", daemon=True).start()


def _read(sock: socket.socket, inbox: Inbox, leave: Callable[[int], Any]) -> None:
    buffer = FrameBuffer()
    try:
        while chunk := sock.recv(RECEIVE_BYTES):
            for message in map(decode, buffer.feed(chunk)):
                if isinstance(message, Stop):
                    return
                if message is not None:
                    inbox.put(message)
    except (OSError, FrameTooLongError):
        pass  # a stream that cannot be followed any more is as good as ended
    finally:
        leave(0)


def _pack(message: FromWorker) -> bytes:
    """Pack ``message``, or its failure where it cannot be sent: the loop that decodes must not end of it."""
    try:
        return pack(encoder.encode(message))
    except wire.ENCODING_ERRORS as exc:
        kind, text = FailureKind.SERVER_ERROR, f"the answer cannot be sent: {exc!r}"
        if isinstance(message, Failed):  # half a character in it
            kind, text = message.kind, ascii(message.message)
        return pack(encoder.encode(Failed(id=getattr(message, "id", 0), kind=kind, message=text)))


class Outbox:
    """Sends messages at once where the socket takes them; the rest on a thread, all that wait joined into one send.

    `send` blocks while over `OUTBOX_BYTES` wait, so a daemon that does not read stops decoding
    instead of filling memory.
    """

    def __init__(self, sock: socket.socket, leave: Callable[[int], Any] = os._exit) -> None:
        self._sock = sock
        self._leave = leave
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._sending = False
        self._changed = threading.Condition()
        threading.Thread(target=self._write, name="writer", daemon=True).start()

    def send(self, *messages: FromWorker) -> None:
        """Send or queue ``messages`` in order; they arrive together. Blocks while the queue is full."""
        self.send_all(messages)

    def send_all(self, messages: Iterable[FromWorker]) -> None:
        frames = b"".join(map(_pack, messages))
        with self._changed:
            if not self._bytes and not self._sending:
                frames = frames[self._send_now(frames) :]
            if frames:
                self._changed.wait_for(lambda: self._bytes < OUTBOX_BYTES)
                self._waiting.append(frames)
                self._bytes += len(frames)
                self._changed.notify_all()

    def _send_now(self, frames: bytes) -> int:
        # The thread would get the interpreter only when the next step is under way: late, and one step after another.
        try:
            return self._sock.send(frames, socket.MSG_DONTWAIT)
        except OSError:
            return 0  # it is full, or at its end: the thread finds out which

    def flush(self) -> None:
        """Block until everything queued is with the kernel."""
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes and not self._sending)

    def _write(self) -> None:
        try:
            while True:
                self._sock.sendall(self._take())
        except OSError:
            self._leave(0)

    def _take(self) -> bytes:
        with self._changed:
            self._sending = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._bytes > 0)
            batch, self._waiting, self._bytes = b"".join(self._waiting), [], 0
            self._sending = True
            self._changed.notify_all()
            return batch
