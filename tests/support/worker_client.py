"""A blocking client of one real worker process: the daemon's part, in few lines, for tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from routerd.wire import (
    Cancel,
    Count,
    Counted,
    Failed,
    Finished,
    FromWorker,
    Generate,
    LoadFailed,
    Piece,
    Ping,
    Pong,
    Prefill,
    Ready,
    Stop,
    ToWorker,
    encode,
    from_worker_decoder,
)
from routerd_client.chat import ChatRequest, Message, Sampling
from routerd_client.framing import FrameBuffer, pack

DEADLINE = 60.0


def ask(text: str = "hello", *, temperature: float = 0.0, **fields: Any) -> ChatRequest:
    """A request with one user message; ``sampling`` fields are given as ``sampling={...}``."""
    sampling = Sampling(**({"temperature": temperature} | fields.pop("sampling", {})))
    fields.setdefault("max_tokens", 16)
    return ChatRequest(messages=[Message("user", text)], sampling=sampling, **fields)


class Answered:
    """Everything one request brought."""

    def __init__(self) -> None:
        self.messages: list[FromWorker] = []

    @property
    def end(self) -> Finished | Failed | None:
        last = self.messages[-1] if self.messages else None
        return last if isinstance(last, Finished | Failed) else None

    @property
    def pieces(self) -> list[Piece]:
        return [m for m in self.messages if isinstance(m, Piece)]

    @property
    def prefills(self) -> list[Prefill]:
        return [m for m in self.messages if isinstance(m, Prefill)]

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def finished(self) -> Finished:
        assert isinstance(self.end, Finished), self.end
        return self.end

    @property
    def failed(self) -> Failed:
        assert isinstance(self.end, Failed), self.end
        return self.end


class WorkerClient:
    """Spawns ``python -m routerd.worker serve``, or in another ``mode``, and speaks with it. Every wait has a
    deadline."""

    def __init__(self, model: Path, *options: str, parent: int | None = None, mode: str = "serve") -> None:
        ours, theirs = socket.socketpair()
        self.sock = ours
        command = [sys.executable, "-m", "routerd.worker", mode, "--fd", str(theirs.fileno())]
        command += ["--parent", str(parent or os.getpid()), "--model", str(model), *options]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()
        self._buffer = FrameBuffer()
        self._ids = count(1)
        self.answers: dict[int, Answered] = {}
        self.loading: list[FromWorker] = []
        self.settled: Ready | LoadFailed | None = None
        self.pongs: list[Pong] = []
        self.counted: dict[int, Counted] = {}

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.sock.close()
        try:
            self.process.wait(5)
        finally:
            self.process.kill()
            self.process.wait()

    def ready(self) -> Ready:
        self.wait(lambda: self.settled is not None)
        assert isinstance(self.settled, Ready), self.settled
        return self.settled

    def load_failed(self) -> LoadFailed:
        self.wait(lambda: self.settled is not None)
        assert isinstance(self.settled, LoadFailed), self.settled
        return self.settled

    def send(self, *messages: ToWorker) -> None:
        self.sock.sendall(b"".join(pack(encode(m)) for m in messages))

    def start(self, chat: ChatRequest) -> int:
        (id_,) = self.start_all([chat])
        return id_

    def start_all(self, chats: Iterable[ChatRequest]) -> list[int]:
        """Send all of ``chats`` at once, so that they are decoded together."""
        requests = [Generate(id=next(self._ids), chat=chat) for chat in chats]
        self.answers.update({request.id: Answered() for request in requests})
        self.send(*requests)
        return [request.id for request in requests]

    def result(self, id_: int) -> Answered:
        self.wait(lambda: self.answers[id_].end is not None)
        return self.answers[id_]

    def chat(self, chat: ChatRequest) -> Answered:
        return self.result(self.start(chat))

    def cancel(self, id_: int) -> None:
        self.send(Cancel(id=id_))

    def ping(self) -> Pong:
        id_, before = next(self._ids), len(self.pongs)
        self.send(Ping(id=id_))
        self.wait(lambda: len(self.pongs) > before)
        assert self.pongs[-1].id == id_
        return self.pongs[-1]

    def count(self, chat: ChatRequest) -> int | Failed:
        id_ = next(self._ids)
        self.send(Count(id=id_, chat=chat))
        self.wait(lambda: id_ in self.counted or id_ in self.answers)
        return self.counted[id_].tokens if id_ in self.counted else self.answers[id_].failed

    def stop(self) -> int:
        self.send(Stop())
        return self.process.wait(5)

    def wait(self, fact: Callable[[], bool], deadline: float = DEADLINE) -> None:
        """Read until ``fact`` holds. Raises where it does not in ``deadline`` seconds, or the worker ends."""
        end = time.monotonic() + deadline
        while not fact():
            self.sock.settimeout(max(end - time.monotonic(), 0.001))
            chunk = self.sock.recv(65536)
            if not chunk and not fact():
                raise EOFError(f"the worker ended with {self.process.wait(5)}")
            for frame in self._buffer.feed(chunk):
                self._take(from_worker_decoder.decode(frame))

    def _take(self, message: FromWorker) -> None:
        match message:
            case Ready() | LoadFailed():
                self.settled = message
            case Pong():
                self.pongs.append(message)
            case Counted(id=id_):
                self.counted[id_] = message
            case Prefill(id=id_) | Piece(id=id_) | Finished(id=id_) | Failed(id=id_):
                self.answers.setdefault(id_, Answered()).messages.append(message)
            case _:
                self.loading.append(message)
