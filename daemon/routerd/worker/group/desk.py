"""Where the daemon's messages come in: one task a request, each with a connection of its own to the ranks."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.abc
import msgspec
from anyio import to_thread

from routerd_client.chat import ChatRequest
from routerd_client.records import FailureKind

from ...wire import Cancel, Failed, Finished, Generate, Memory, Ping, Pong
from ..lm import Model
from ..pipe import Inbox, Outbox, Undecodable
from ..prompt import TOO_DEEP
from ..validate import RequestError, bad
from .question import Question, ask
from .ranks import resident_bytes
from .reply import Reply
from .seats import Seats
from .server import CutError, RefusedError, Server

End = Finished | Failed


class Desk:
    """Answers the messages of an inbox. ``lost`` is set when the ranks cannot answer any more.

    ``quiet_after`` is how many seconds of silence make it ask the server for a sign of life: nothing
    comes while a model writes a tool call, or while a request waits for its turn.
    """

    def __init__(
        self, model: Model, server: Server, outbox: Outbox, *, max_tokens: int, kv_tokens: int, quiet_after: float
    ) -> None:
        self._model = model
        self._server = server
        self._outbox = outbox
        self._max_tokens = max_tokens
        self._kv_tokens = kv_tokens
        self._quiet_after = quiet_after
        self._seats = Seats(kv_tokens)
        self._one_tokenizer = anyio.CapacityLimiter(1)
        self._open: dict[int, anyio.CancelScope] = {}
        self._replies: dict[int, Reply] = {}
        self._heard = 0.0
        self.lost = anyio.Event()

    async def run(self, inbox: Inbox) -> None:
        """Serve until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._prove_life)
            while True:
                message = await to_thread.run_sync(inbox.get, abandon_on_cancel=True)
                self._handle(message, tasks)

    def _handle(self, message: Any, tasks: anyio.abc.TaskGroup) -> None:
        match message:
            case Generate(id=id_, chat=chat):
                # At once, and not in the task: the next message may cancel it.
                self._open[id_] = scope = anyio.CancelScope()
                tasks.start_soon(self._answer, id_, chat, scope)
            case Cancel(id=id_) if id_ in self._open:
                self._open[id_].cancel()
            case Ping(id=id_):
                tasks.start_soon(self._pong, id_)
            case Undecodable(id=id_, reason=reason):
                text = f"the request has a form the worker does not know: {reason}"
                self._outbox.send(Failed(id=id_, kind=FailureKind.BAD_REQUEST, message=text))

    async def _pong(self, id_: int) -> None:
        memory = await to_thread.run_sync(group_memory)
        self._outbox.send(Pong(id=id_, memory=memory, in_flight=len(self._open), waiting=self._seats.waiting))

    async def _answer(self, id_: int, chat: ChatRequest, scope: anyio.CancelScope) -> None:
        end: End | None = Failed(id=id_, kind=FailureKind.CANCELLED, message="cancelled")
        with scope:
            end = await self._outcome(id_, chat)
        del self._open[id_]
        if end:
            self._outbox.send(end)

    async def _outcome(self, id_: int, chat: ChatRequest) -> End | None:
        """How the answer ended; None where the ranks are lost, and the end of this process says so."""
        try:
            question = await to_thread.run_sync(self._ask, chat, limiter=self._one_tokenizer)
            async with self._seats.seat(question.tokens):
                return await self._read(id_, question, chat.stop)
        except RequestError as exc:
            return Failed(id=id_, kind=exc.kind, message=str(exc))
        except msgspec.DecodeError as exc:
            return Failed(id=id_, kind=FailureKind.MALFORMED, message=f"the first rank's server sent garbage: {exc}")
        except (CutError, RefusedError) as exc:
            if await self._server.healthy():
                return Failed(id=id_, kind=FailureKind.SERVER_ERROR, message=f"the answer failed: {exc}")
            self.lost.set()
            return None

    def _ask(self, chat: ChatRequest) -> Question:
        try:
            return ask(self._model, chat, self._max_tokens, self._kv_tokens)
        except RequestError:
            raise
        except RecursionError:
            raise bad(TOO_DEEP) from None
        except Exception as exc:  # whatever one request does to the tokenizer is that request's own
            raise RequestError(FailureKind.SERVER_ERROR, f"the prompt could not be prepared: {exc!r}") from exc

    async def _read(self, id_: int, question: Question, stops: list[str]) -> End:
        self._replies[id_] = reply = Reply(id_, question.prompt, stops, self._count)
        self._heard = anyio.current_time()
        try:
            async with self._server.chat(question.body) as events:
                async for event in events:
                    self._heard = anyio.current_time()
                    if message := reply.feed(event):
                        self._outbox.send(message)
                    if reply.stopped:
                        break
            return reply.end()
        finally:
            del self._replies[id_]

    def _count(self, text: str) -> int:
        return len(self._model.encode(text, special=False))

    async def _prove_life(self) -> None:
        while True:
            await anyio.sleep(self._quiet_after)
            quiet = anyio.current_time() - self._heard >= self._quiet_after
            if self._replies and quiet and await self._server.lives():
                self._outbox.send_all([reply.sign() for reply in self._replies.values()])


def group_memory() -> Memory:
    """What the ranks on this machine have, as the system sees it: mlx's own figures stay in them."""
    resident = resident_bytes()
    return Memory(active=resident, peak=resident, cache=0, kv=0)
