"""One child process and the socket to it: starting it, its messages both ways, its end."""

from __future__ import annotations

import shlex
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from signal import SIGKILL
from subprocess import DEVNULL, PIPE

import anyio
import anyio.abc
import msgspec
import structlog
from msgspec.structs import replace

from routerd_client.chat import ChatRequest
from routerd_client.framing import FrameBuffer, FrameTooLongError
from routerd_client.records import FailureKind

from .. import wire
from ..crashes import Crash
from .death import End, explain
from .errors import Failure, ProcessFailedError, own_mistake
from .leftovers import kill_group
from .outgoing import Outgoing
from .sizing import Size
from .stream import Stream
from .waiting import News

log = structlog.get_logger()

LAST_WORDS_S = 1.0
"""How long a process whose socket has closed may take to end by itself, before it is killed."""

OomKilled = Callable[[], Awaitable[bool]]
"""Asked once of a process that somebody killed by SIGKILL: whether that was the system, for want of memory."""

Reply = wire.Pong | wire.Counted | wire.Failed

MALFORMED = (FrameTooLongError, msgspec.MsgspecError, ValueError, RecursionError)
"""Exceptions of decoding at bytes of a worker that are no message."""


class _Question:
    """Something that is answered by one message. ``reply`` is None where it was not."""

    def __init__(self) -> None:
        self.settled = anyio.Event()
        self.reply: Reply | None = None

    def settle(self, reply: Reply | None) -> None:
        self.reply = reply
        self.settled.set()


class Worker:
    """A living worker. `run` reads it until it ends; the rest may be called meanwhile, on the same loop."""

    def __init__(
        self, process: anyio.abc.Process, pipe: anyio.abc.SocketStream, name: str, size: Size, oom_killed: OomKilled
    ) -> None:
        self._process = process
        self._pipe = pipe
        self._name = name
        self._size = size
        self._ask_oom = oom_killed
        self._ids = count(1)
        self._streams: dict[int, Stream] = {}
        self._owed: set[int] = set()  # answers the worker has not ended, also those that nobody wants any more
        self._questions: dict[int, _Question] = {}
        self._outgoing = Outgoing()
        self._stderr: deque[str] = deque(maxlen=30)
        self._condemned: Failure | None = None
        self._death: Failure | None = None
        self._forced = False
        self._dismissed = False  # by us, and not for something it did
        self._command = ""
        self.oom_killed = False
        """Whether the system has killed it for want of memory."""
        self.peak = 0
        """The most memory, in bytes, that it was seen to have."""
        self.pid = process.pid
        self.ready: wire.Ready | None = None
        self.refused: wire.LoadFailed | None = None
        self.loading = wire.Loading(phase="import", fraction=0.0)
        self.memory: wire.Memory | None = None
        self.settled = anyio.Event()
        """Set when the load has ended, either way, or the process has."""
        self.gone = anyio.Event()
        """Set when the process has ended and nothing more will come."""
        self.news = News()
        """Told at each step of the load, when work begins, and at the end. Whoever spawned it may give its own."""
        self.last_sign = anyio.current_time()
        """When it last showed progress."""

    def __repr__(self) -> str:
        state = "gone" if self.gone.is_set() else "ready" if self.ready else "loading"
        return f"<Worker {self._name} pid={self.pid} {state} {len(self._streams)} in flight>"

    @classmethod
    async def spawn(
        cls, command: Callable[[int], list[str]], name: str, size: Size, *, oom_killed: OomKilled
    ) -> Worker:
        """Start the process that ``command`` gives for its end of the socketpair. Raises ``OSError`` where it cannot
        be started.

        On the loop's own thread, and not in a helper thread: on Linux the worker's parent-death signal
        follows the thread that spawned it.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            arguments = command(theirs.fileno())
            process = await anyio.open_process(
                arguments,
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
        worker = cls(process, await anyio.abc.UNIXSocketStream.from_socket(ours), name, size, oom_killed)
        worker._command = shlex.join(arguments)
        return worker

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
        except anyio.get_cancelled_exc_class():
            self._dismissed = True
            raise
        except Exception as error:
            log.exception("worker.internal_error", backend=self._name, pid=self.pid)
            self.condemn(own_mistake(error))
        finally:
            self.kill()
            with anyio.CancelScope(shield=True):
                await self._process.wait()
                await self._pipe.aclose()
                await self._process.aclose()
                self.oom_killed = await self._was_oom_killed()
            self._end()

    async def _was_oom_killed(self) -> bool:
        if self._process.returncode != -SIGKILL or self._forced:
            return False
        try:
            return await self._ask_oom()
        except Exception:  # whoever waits for this process learns of its end all the same
            log.exception("worker.internal_error", backend=self._name, pid=self.pid)
            return False

    @contextmanager
    def generate(self, chat: ChatRequest) -> Iterator[Stream]:
        """Ask for an answer to ``chat``; leaving before its end cancels it in the worker. Raises `ProcessFailedError`
        where it is gone, and where the chat cannot be sent to it."""
        if self.gone.is_set():
            raise ProcessFailedError.of(self.death())
        stream = Stream(next(self._ids))
        self._outgoing.put(wire.Generate(id=stream.id, chat=chat))
        if not self._owed:
            self.last_sign = anyio.current_time()
        self._owed.add(stream.id)
        self._streams[stream.id] = stream
        self.news.tell()
        try:
            yield stream
        finally:
            del self._streams[stream.id]
            if not stream.ended:
                self._cancel(stream.id)

    def _cancel(self, id_: int) -> None:
        if self._outgoing.take_back(id_):
            self._owed.discard(id_)
        else:
            self.send(wire.Cancel(id=id_))

    async def ping(self) -> None:
        """Wait for a sign of life, or for its end; refreshes ``memory``."""
        await self._ask(wire.Ping(id=next(self._ids)))

    async def count(self, chat: ChatRequest) -> int | None:
        """The tokens of the chat's prompt; None where it cannot say, cannot be asked, or ends meanwhile."""
        try:
            reply = await self._ask(wire.Count(id=next(self._ids), chat=chat))
        except ProcessFailedError:
            return None
        return reply.tokens if isinstance(reply, wire.Counted) else None

    async def _ask(self, message: wire.Ping | wire.Count) -> Reply | None:
        if self.gone.is_set():
            return None
        self._outgoing.put(message)
        self._questions[message.id] = question = _Question()
        try:
            await question.settled.wait()
        finally:
            self._questions.pop(message.id, None)
            self._outgoing.take_back(message.id)
        return question.reply

    def send(self, message: wire.ToWorker) -> None:
        """Have one message sent, in order. One to a worker that is gone is dropped: its end is told by `gone`."""
        self._dismissed = self._dismissed or isinstance(message, wire.Stop)
        self._outgoing.put(message)

    @property
    def condemned(self) -> bool:
        return self._condemned is not None

    def kill(self) -> None:
        """SIGKILL it with its whole group, now."""
        self._forced = self._forced or self._process.returncode is None
        kill_group(self.pid)

    def condemn(self, reason: Failure) -> None:
        """SIGKILL it with its whole group, now; its streams fail with ``reason``."""
        log.warning("worker.killed", backend=self._name, pid=self.pid, reason=reason.message)
        self._condemned = self._condemned or reason
        self.kill()

    def death(self) -> Failure:
        """Why it is gone, as its streams are told."""
        assert self._death, "it lives"
        return self._death

    def crash(self) -> Crash | None:
        """What to keep of its end; None where it was asked to end, or said itself that it cannot load the model."""
        if self._dismissed or self.refused or self._death is None:
            return None
        return Crash(
            at=datetime.now(UTC).isoformat(),
            backend=self._name,
            pid=self.pid,
            kind=self._death.kind.value,
            says=self._death.message,
            planned=self._size.claim,
            measured=self.peak,
            command=self._command,
            stderr=tuple(self._stderr),
        )

    def _explain(self) -> Failure:
        if self.refused:
            refused = self.refused
            return Failure(FailureKind.LOAD_FAILED, refused.message, refused.hint, permanent=refused.permanent)
        if self._condemned:
            return self._condemned
        return explain(
            End(
                code=self._process.returncode,
                loaded=self.ready is not None,
                in_flight=self.in_flight,
                forced=self._forced,
                oom_killed=self.oom_killed,
                planned=self._size.claim,
                measured=self.peak,
                last_words=self._stderr[-1] if self._stderr else "",
            )
        )

    def _end(self) -> None:
        self._death = self._explain()
        self.gone.set()
        self.settled.set()
        self.news.tell()
        # Nobody's death where we ended it, and none of theirs whose question it never read.
        ours = self._dismissed or self._death.kind is FailureKind.OVERLOADED
        unsent = self._outgoing.unsent
        for stream in self._streams.values():
            there = not ours and stream.id not in unsent
            stream.fail(replace(self._death, died=f"{self._name}:{self.pid}" if there else ""))
        for question in self._questions.values():
            question.settle(None)

    async def _write_pipe(self) -> None:
        # A task of its own: a request that is cancelled must not leave half a frame behind.
        try:
            while True:
                await self._pipe.send(await self._outgoing.next())
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # the reader sees the same end, and says so

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        rest = ""
        try:
            async for chunk in self._process.stderr:
                *lines, rest = (rest + chunk.decode(errors="replace")).split("\n")
                for line in lines:
                    self._say(line)
                rest = rest[-4096:]
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # it says nothing more
        self._say(rest)

    def _say(self, line: str) -> None:
        if line := line.strip()[:500]:
            self._stderr.append(line)
            log.debug("worker.stderr", backend=self._name, pid=self.pid, line=line)

    async def _read_pipe(self) -> None:
        frames, pipe = FrameBuffer(), self._pipe.extra(anyio.abc.SocketAttribute.raw_socket)
        try:
            while True:
                # `receive` alone leaves an error in the loop's log where it is cancelled as something comes.
                await anyio.wait_readable(pipe)
                chunk = await self._pipe.receive(262144)
                try:
                    for frame in frames.feed(chunk):
                        self._take(wire.from_worker_decoder.decode(frame))
                except MALFORMED as error:
                    self.condemn(Failure(FailureKind.MALFORMED, f"the model process sent garbage: {error}"))
                    return
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            return

    def _take(self, message: wire.FromWorker) -> None:
        try:
            self._handle(message)
        except Exception as error:  # our mistake with one message must end neither the model nor its other answers
            log.exception("worker.internal_error", backend=self._name, pid=self.pid)
            if stream := self._streams.get(getattr(message, "id", 0)):
                stream.fail(own_mistake(error))

    def _handle(self, message: wire.FromWorker) -> None:
        if isinstance(message, Reply) and (question := self._questions.pop(message.id, None)):
            question.settle(message)
        elif not isinstance(message, wire.Pong | wire.Counted):
            self.last_sign = anyio.current_time()  # an answered question is no progress
        if isinstance(message, wire.Finished | wire.Failed):
            self._owed.discard(message.id)
        match message:
            case wire.Prefill() | wire.Piece() | wire.Finished():
                if (stream := self._streams.get(message.id)) and not stream.put(message):
                    self.send(wire.Cancel(id=message.id))
            case wire.Failed():
                if stream := self._streams.get(message.id):
                    stream.fail(Failure(message.kind, message.message))
            case wire.Pong():
                self.memory = message.memory
            case wire.Loading() | wire.Ready() | wire.LoadFailed():
                self._loaded(message)
                self.news.tell()

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
