"""One attempt's answer on its way to the caller: collected, held back while it may be taken back, released."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter

import anyio
import structlog
from msgspec.structs import replace

from routerd_client.chat import ChatRequest, Message, TokenLogprob, ToolCall
from routerd_client.protocol import Delta, Event, Progress, Retracted

from .. import clock
from ..backends.base import End, Limited, News, Piece, Sent, Waiting
from ..quality.degenerate import Finding, unreadable
from ..quality.gate import Gate, examine
from ..routing.terms import Terms
from ..spend.quota import Told
from .beside import beside_loop
from .escalate import measured_by, watched

log = structlog.get_logger()

Emit = Callable[[Event], Awaitable[None]]

_LONG = 2**16
"""Characters of an answer that take a while to judge."""


class Reception:
    """What one backend says. Not streamed, all of it is kept until the end; streamed, a `Gate` holds its
    beginning back (all of it, in stream mode ``safe``).

    ``id`` and ``attempt`` are what its events carry. ``judged``: something is to be found out about the
    whole answer before any of it may go. ``before`` is what the caller holds of an earlier attempt, if this one
    goes on from there.
    """

    def __init__(
        self, id_: int, attempt: int, chat: ChatRequest, terms: Terms, emit: Emit, *, judged: bool, before: str = ""
    ) -> None:
        self.id = id_
        self.attempt = attempt
        self.released = bool(before)
        """Whether the caller holds something of it."""
        self.tool_calls: list[ToolCall] = []
        self.logprobs: list[TokenLogprob] = []
        self.timed = False
        """Whether `release_in_time` is to run beside the answer."""
        self.flaw = ""
        """The reason why a call in it cannot be parsed, ``""`` if all can."""
        self.finding: Finding | None = None
        """What is wrong with the answer."""
        self.sent = False
        """Whether the request may have left for an API."""
        self.told: list[Told] = []
        """What the API says of its limits."""
        self._emit = emit
        self._watch = watched(terms)
        self._ask = measured_by(chat, terms)
        safe = judged or terms.stream_mode == "safe"
        self._gate: Gate[Piece] | None = None
        if chat.stream:
            self._gate = Gate("safe" if safe else "live", watch=self._watch, ask=self._ask)
        if self._gate and before:
            self._gate.release()
        self.timed = chat.stream and not safe and not before and "refusal" in self._watch
        self._began = perf_counter()
        self._first: float | None = None
        self._text = [before]
        self._spaced = before != before.rstrip()
        self._reasoning: list[str] = []
        self._silent = 0
        """Number of consecutive empty pieces at the end."""
        self._outgoing: deque[Piece] = deque()
        self._taken_back = False
        self._one_sender = anyio.Lock(fast_acquire=True)  # else each piece would cost a turn of the loop
        self._holds = anyio.Event() if self.timed else None

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def pieces(self) -> int:
        """How many pieces have come."""
        return len(self._text) - 1

    @property
    def first_s(self) -> float | None:
        """When its first piece came, on `time.perf_counter`'s clock."""
        return self._first

    @property
    def ttft_s(self) -> float | None:
        """Seconds from its start to its first piece."""
        return None if self._first is None else self._first - self._began

    @property
    def total_s(self) -> float:
        return perf_counter() - self._began

    async def receive(self, event: News) -> None:
        """Take what the backend sent."""
        if not isinstance(event, Piece):
            await self._hear(event)
            return
        if self._first is None:
            self._first = perf_counter()
        if event.tool_calls:
            event = _readable(event, len(self.tool_calls), apart=bool(self.text.strip()))
        self.flaw = self.flaw or event.flaw
        if self._spaced and event.text:  # it was asked to go on from before the space that the caller has
            event = replace(event, text=event.text.lstrip())
            self._spaced = not event.text
        self._silent = 0 if event.text or event.reasoning or event.tool_calls else self._silent + 1
        self._text.append(event.text)
        self._reasoning.append(event.reasoning)
        self.tool_calls += event.tool_calls
        self.logprobs += event.logprobs
        if self._gate and not self.finding:
            await self._take(self._gate.feed(event, clock.now()))
            if self._holds and self._gate.due_at is not None:
                self._holds.set()
        elif self._gate:
            self._gate.hold(event)  # the rest of an answer that is passed over, should nobody do better

    async def _hear(self, event: Waiting | Sent | Limited) -> None:
        """Take what is no part of the answer."""
        match event:
            case Sent():
                self.sent = True
            case Limited():
                self.told = event.told
            case Waiting():
                await self._emit(
                    Progress(
                        id=self.id,
                        attempt=self.attempt,
                        phase=event.phase,
                        fraction=event.fraction,
                        position=event.position,
                        prompt_tokens=event.prompt_tokens,
                        cached_tokens=event.cached_tokens,
                    )
                )

    async def ended(self, end: End) -> None:
        """The answer is whole: look at all of it. `release` lets go what is still held."""
        if not self.finding and (noted := await self._examined(end, every=True)):
            # A fault that nobody watches for is noted all the same; most answers have none, and are looked at once.
            self.finding = await self._examined(end) or noted

    async def release(self) -> None:
        """Let everything go, whatever was found; all of it anew, where it was taken back."""
        if not self._gate:
            return
        held = self._gate.release()
        if self._taken_back:
            self._taken_back = False
            self._outgoing.clear()
            held = [Piece(self.text, "".join(self._reasoning), self.tool_calls, self.logprobs)]
        await self._send(held)

    async def take_back(self, reason: str) -> None:
        """Have the caller drop what was released, if anything was."""
        if self.released:
            self.released, self._taken_back = False, True
            await self._emit(Retracted(id=self.id, attempt=self.attempt, reason=reason))

    async def release_in_time(self) -> None:
        """Keep the gate's promise of time while pieces are slow to come. Runs beside the answer, until cancelled."""
        assert self._gate
        assert self._holds
        await self._holds.wait()
        while self._gate.due_at is not None and not self.finding:
            await anyio.sleep_until(self._gate.due_at)
            await self._take(self._gate.due(clock.now()))

    def message(self, refusal: str) -> Message:
        """The whole answer; ``refusal`` is what the backend said where it marked it as one."""
        return Message(
            role="assistant",
            content=self.text if self.text or not self.tool_calls else None,
            tool_calls=self.tool_calls,
            reasoning="".join(self._reasoning) or None,
            refusal=refusal or None,
        )

    async def _examined(self, end: End, *, every: bool = False) -> Finding | None:
        """The first fault of the whole answer. A judge that fails finds none: the answer is there all the same."""
        look = partial(
            examine,
            self.text,
            tool_calls=self.tool_calls,
            finish_reason=end.finish_reason,
            refusal_field=end.refusal,
            broken_call=self.flaw,
            empty=self._silent,
            ask=self._ask,
            watch=None if every else self._watch,
        )
        try:
            return await beside_loop(look) if self._takes_long() else look()
        except Exception:
            log.exception("answer.not_judged", attempt=self.attempt)
            return None

    def _takes_long(self) -> bool:
        """Whether the answer is to be judged beside the loop: it is long, or is held against a schema."""
        wanted = self._ask.response_format
        if wanted and wanted.type == "json_schema":
            return True
        schemas = any(tool.function.parameters for tool in self._ask.tools)
        if self.tool_calls and schemas:
            return True
        return sum(map(len, self._text)) > _LONG

    async def _take(self, found: list[Piece] | Finding) -> None:
        if isinstance(found, Finding):
            self.finding = found
        elif found:
            await self._send(found)

    async def _send(self, pieces: list[Piece]) -> None:
        self._outgoing += pieces  # a timer that is cancelled while it sends leaves the rest for the next one
        async with self._one_sender:
            while self._outgoing:
                piece = self._outgoing.popleft()
                if piece.text or piece.reasoning or piece.tool_calls or piece.logprobs:
                    self.released = True
                    await self._emit(
                        Delta(
                            id=self.id,
                            attempt=self.attempt,
                            text=piece.text,
                            reasoning=piece.reasoning,
                            tool_calls=piece.tool_calls,
                            logprobs=piece.logprobs,
                        )
                    )


def _readable(piece: Piece, before: int, *, apart: bool) -> Piece:
    """Turn the unreadable tool calls in ``piece`` into text, and set its flaw. ``before``: calls that came earlier;
    ``apart``: text came earlier."""
    broken = [(call, wrong) for call in piece.tool_calls if (wrong := unreadable(call))]
    if not broken:
        return piece
    sound = [call for call in piece.tool_calls if not unreadable(call)]
    lines = [f"{call.function.name}({call.function.arguments})" for call, _ in broken]
    text = "\n".join([piece.text, *lines] if piece.text or apart else lines)
    numbered = [replace(call, index=before + at) for at, call in enumerate(sound)]
    return replace(piece, text=text, tool_calls=numbered, flaw=piece.flaw or broken[0][1])
