"""One child process and the socket to it: starting it, its messages both ways, its end."""

from __future__ import annotations

import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio
import anyio.abc
import msgspec
import structlog

from routerd_client.chat import ChatRequest
from routerd_client.framing import FrameBuffer, FrameTooLongError, pack
from routerd_client.records import FailureKind

from .. import wire
from ..config.schema import MlxSpec
from .errors import ProcessFailedError
from .leftovers import kill_group
from .sizing import Size
from .stream import Stream

log = structlog.get_logger()

LAST_WORDS_S = 0.2
"""How long a process whose socket has closed may take to end by itself, before it is killed."""


def worker_command(spec: MlxSpec, model: Path, fd: int, size: Size) -> list[str]:
    """How a worker for ``spec`` is started; ``fd`` is its end of the socketpair."""
    command = [sys.executable, "-m", "routerd.worker", "serve", "--fd", str(fd), "--parent", str(os.getpid())]
    command += ["--model", str(model), "--concurrency", str(spec.concurrency)]
    command += ["--kv-pool", str(size.kv_pool), "--prompt-cache", str(spec.prompt_cache)]
    return command + (["--context", str(spec.context)] if spec.context else [])


Command = Callable[[MlxSpec, Path, int, Size], list[str]]


class Worker:
    """A living worker. `run` reads it until it ends; the rest may be called meanwhile, on the same loop."""

    def __init__(self, process: anyio.abc.Process, pipe: anyio.abc.SocketStream, name: str) -> None:
        self._process = process
        self._pipe = pipe
        self._name = name
        self._ids = count(1)
        self._streams: dict[int, Stream] = {}
        self._owed: set[int] = set()  # answers the worker has not ended, also those that nobody wants any more
        self._pings: dict[int, anyio.Event] = {}
        self._outgoing: deque[wire.ToWorker] = deque()
        self._work = anyio.Event()  # for the writer alone
        self._stderr: deque[str] = deque(maxlen=30)
        self._condemned: ProcessFailedError | None = None
        self.pid = process.pid
        self.ready: wire.Ready | None = None
        self.refused: wire.LoadFailed | None = None
        self.loading = wire.Loading(phase="import", fraction=0.0)
        self.memory: wire.Memory | None = None
        self.settled = anyio.Event()
        """Set when the load has ended, either way, or the process has."""
        self.gone = anyio.Event()
        """Set when the process has ended and nothing more will come."""
        self.news = anyio.Event()
        """Set, and replaced, at each step of the load and when work begins."""
        self.last_sign = anyio.current_time()
        """When it last showed progress."""

    def __repr__(self) -> str:
        state = "gone" if self.gone.is_set() else "ready" if self.ready else "loading"
        return f"<Worker {self._name} pid={self.pid} {state} {len(self._streams)} in flight>"

    @classmethod
    async def spawn(
        cls, spec: MlxSpec, model: Path, size: Size, name: str, *, command: Command = worker_command
    ) -> Worker:
        """Start the process. Raises ``OSError`` where it cannot be started.

        On the loop's own thread, and not in a helper thread: on Linux the worker's parent-death signal
        follows the thread that spawned it.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            process = await anyio.open_process(
                command(spec, model, theirs.fileno(), size),
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=PIPE,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(process, await anyio.abc.UNIXSocketStream.from_socket(ours), name)

    @property
    def in_flight(self) -> int:
        """Answers the worker has been asked for and has not ended, cancelled ones among them."""
        return len(self._owed)

    async def run(self) -> None:
        """Read the worker until it ends, then kill what is left of its group. Cancelling kills it."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._read_stderr)
                tasks.start_soon(self._write_pipe)
                await self._read_pipe()
                with anyio.move_on_after(LAST_WORDS_S):
                    await self._process.wait()
                tasks.cancel_scope.cancel()
        finally:
            kill_group(self.pid)
            with anyio.CancelScope(shield=True):
                await self._process.wait()
                await self._pipe.aclose()
                await self._process.aclose()
            self._end()

    @contextmanager
    def generate(self, chat: ChatRequest) -> Iterator[Stream]:
        """Ask for an answer to ``chat``; leaving before its end cancels it in the worker."""
        if self.gone.is_set():
            raise self.death()
        stream = Stream(next(self._ids))
        question = wire.Generate(id=stream.id, chat=chat)
        if not self._owed:
            self.last_sign = anyio.current_time()
        self._owed.add(stream.id)
        self._streams[stream.id] = stream
        self._tell()
        self.send(question)
        try:
            yield stream
        finally:
            del self._streams[stream.id]
            if not stream.ended:
                self._cancel(question)

    def _cancel(self, question: wire.Generate) -> None:
        if question in self._outgoing:  # a worker that does not read: it need never hear of it
            self._outgoing.remove(question)
            self._owed.discard(question.id)
        else:
            self.send(wire.Cancel(id=question.id))

    async def ping(self) -> None:
        """Wait for a sign of life, or for its end; refreshes ``memory``."""
        if self.gone.is_set():
            return
        id_, answered = next(self._ids), anyio.Event()
        self._pings[id_] = answered
        self.send(wire.Ping(id=id_))
        try:
            await answered.wait()
        finally:
            self._pings.pop(id_, None)

    def send(self, message: wire.ToWorker) -> None:
        """Have one message sent, in order. One to a worker that is gone is dropped: its end is told by `gone`."""
        self._outgoing.append(message)
        self._work.set()

    @property
    def condemned(self) -> bool:
        return self._condemned is not None

    def kill(self) -> None:
        """SIGKILL it with its whole group, now."""
        kill_group(self.pid)

    def condemn(self, reason: ProcessFailedError) -> None:
        """SIGKILL it with its whole group, now; its streams fail with ``reason``."""
        log.warning("worker.killed", backend=self._name, pid=self.pid, reason=reason.message)
        self._condemned = self._condemned or reason
        self.kill()

    def death(self) -> ProcessFailedError:
        """Why it is gone, as its streams are told."""
        if self.refused:
            return ProcessFailedError(FailureKind.LOAD_FAILED, self.refused.message, hint=self.refused.hint)
        if self._condemned:
            return self._condemned
        code = self._process.returncode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"exited with code {code}"
        last = f"; its last words: {self._stderr[-1]}" if self._stderr else ""
        doing = "while it answered" if self.ready else "while it loaded"
        return ProcessFailedError(FailureKind.WORKER_DIED, f"the model process {how} {doing}{last}")

    def _end(self) -> None:
        self.gone.set()
        self.settled.set()
        self.news.set()
        for stream in self._streams.values():
            stream.fail(self.death())
        for answered in self._pings.values():
            answered.set()

    async def _write_pipe(self) -> None:
        # A task of its own: a request that is cancelled must not leave half a frame behind.
        try:
            while True:
                await self._work.wait()
                self._work = anyio.Event()
                while self._outgoing:
                    await self._pipe.send(pack(wire.encoder.encode(self._outgoing.popleft())))
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # the reader sees the same end, and says so

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        rest = ""
        async for chunk in self._process.stderr:
            *lines, rest = (rest + chunk.decode(errors="replace")).split("\n")
            for line in lines:
                self._say(line)
            rest = rest[-4096:]
        self._say(rest)

    def _say(self, line: str) -> None:
        if line := line.strip()[:500]:
            self._stderr.append(line)
            log.debug("worker.stderr", backend=self._name, pid=self.pid, line=line)

    async def _read_pipe(self) -> None:
        frames = FrameBuffer()
        try:
            while True:
                for frame in frames.feed(await self._pipe.receive(262144)):
                    self._handle(wire.from_worker_decoder.decode(frame))
        except (anyio.EndOfStream, anyio.BrokenResourceError, OSError):
            return
        except (FrameTooLongError, msgspec.DecodeError) as error:
            self.condemn(ProcessFailedError(FailureKind.MALFORMED, f"the model process sent garbage: {error}"))

    def _handle(self, message: wire.FromWorker) -> None:
        if not isinstance(message, wire.Pong):
            self.last_sign = anyio.current_time()  # an answered ping is no progress
        if isinstance(message, wire.Finished | wire.Failed):
            self._owed.discard(message.id)
        match message:
            case wire.Prefill() | wire.Piece() | wire.Finished():
                if (stream := self._streams.get(message.id)) and not stream.put(message):
                    self.send(wire.Cancel(id=message.id))
            case wire.Failed():
                if stream := self._streams.get(message.id):
                    stream.fail(ProcessFailedError(message.kind, message.message))
            case wire.Pong():
                self.memory = message.memory
                if answered := self._pings.pop(message.id, None):
                    answered.set()
            case wire.Loading() | wire.Ready() | wire.LoadFailed():
                self._loaded(message)
                self._tell()

    def _loaded(self, message: wire.Loading | wire.Ready | wire.LoadFailed) -> None:
        match message:
            case wire.Loading():
                self.loading = message
                return
            case wire.Ready():
                self.ready, self.memory = message, message.memory
            case wire.LoadFailed():
                self.refused = message
        self.settled.set()

    def _tell(self) -> None:
        self.news.set()
        self.news = anyio.Event()
