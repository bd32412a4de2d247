"""From the events of the server's stream to the messages of a worker."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import msgspec
from msgspec import Struct

from routerd_client.chat import FinishReason, Function, ToolCall, Usage

from ...wire import Finished, Piece, Prefill
from ..stops import StopScanner

_KEEPALIVE = re.compile(rb": keepalive (\d+)/(\d+)")


class _Call(Struct, frozen=True):
    id: str
    function: Function
    index: int = 0


class _Delta(Struct, frozen=True):
    content: str = ""
    reasoning: str = ""
    tool_calls: list[_Call] = []


class _Choice(Struct, frozen=True):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Cached(Struct, frozen=True):
    cached_tokens: int = 0


class _Usage(Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _Cached = _Cached()


class _Chunk(Struct, frozen=True):
    choices: list[_Choice] = []
    usage: _Usage | None = None


_decoder = msgspec.json.Decoder(_Chunk)


class Reply:
    """One answer on its way. ``prompt`` is the prompt's tokens, ``count`` says how many a text has.

    Stop strings are found here: the server misses those that its tokenizer spells otherwise, and
    takes them out of the text without stopping.
    """

    def __init__(self, id: int, prompt: int, stops: list[str], count: Callable[[str], int]) -> None:  # noqa: A002
        self._id = id
        self._count = count
        self._stops = StopScanner(stops)
        self._usage = Usage(prompt_tokens=prompt)
        self._finish: str | None = None
        self._said = ""
        self._thought = ""
        self._calls = 0
        self._prefilled = 0
        self._started = self._latest = 0.0

    @property
    def stopped(self) -> bool:
        """Whether a stop string was found: whatever comes after is not wanted."""
        return self._stops.hit

    def feed(self, event: bytes) -> Piece | Prefill | None:
        """What ``event`` brings, if anything. Raises ``msgspec.DecodeError`` for what no server of ours sends."""
        if match := _KEEPALIVE.match(event):
            return self._prefill(int(match[1]), int(match[2]))
        if not event.startswith(b"data: "):
            return None
        chunk = _decoder.decode(event[6:])
        if chunk.usage:
            self._usage = _usage(chunk.usage)
        if not chunk.choices:
            return None
        self._finish = chunk.choices[0].finish_reason
        return self._piece(chunk.choices[0].delta)

    def sign(self) -> Piece | Prefill:
        """The sign of life of an answer that has brought nothing for a while."""
        if self._started:
            return Piece(id=self._id, tokens=0)
        return Prefill(id=self._id, done=self._prefilled, total=self._usage.prompt_tokens)

    def end(self) -> Finished:
        """How it ended; to be asked once the stream has, or once it is `stopped`."""
        usage, reason = self._usage, FinishReason.STOP if self._broken else FinishReason(self._finish or "stop")
        if self.stopped:
            # The server goes on until it sees that nobody listens: its own count never comes.
            usage = msgspec.structs.replace(usage, completion_tokens=self._count(self._thought + self._said))
            reason = FinishReason.TOOL_CALLS if self._calls else FinishReason.STOP
        return Finished(id=self._id, finish_reason=reason, usage=usage, decode_s=self._latest - self._started)

    def _prefill(self, done: int, total: int) -> Prefill:
        # The server counts only what it computes.
        prompt = self._usage.prompt_tokens
        cached = max(0, prompt - total)
        self._usage = msgspec.structs.replace(self._usage, cached_tokens=cached)
        self._prefilled = min(cached + done, prompt)
        return Prefill(id=self._id, done=self._prefilled, total=prompt, cached=cached)

    def _piece(self, delta: _Delta) -> Piece:
        self._latest = time.monotonic()
        self._started = self._started or self._latest
        # White space next to a marker belongs to the marker.
        text = delta.content if self._said or not self._thought else delta.content.lstrip()
        reasoning = delta.reasoning if self._thought else delta.reasoning.lstrip()
        self._said += text
        self._thought += reasoning
        text = self._stops.feed(text)
        if self._finish or delta.tool_calls:
            text += self._stops.flush()
        calls = [] if self.stopped else [self._call(call) for call in delta.tool_calls]
        flaw = "the model wrote a tool call that cannot be read" if self._broken else ""
        return Piece(id=self._id, text=text, reasoning=reasoning, tool_calls=calls, flaw=flaw)

    @property
    def _broken(self) -> bool:
        """Whether the model called a tool and the server could not read the call: it leaves out what it wrote."""
        return self._finish == "tool_calls" and not self._calls

    def _call(self, call: _Call) -> ToolCall:
        # Where the model wrote them as a string, the server has put that into another.
        arguments = json.loads(call.function.arguments)
        text = arguments if isinstance(arguments, str) else call.function.arguments
        self._calls += 1
        return ToolCall(id=call.id, function=Function(call.function.name, text), index=self._calls - 1)


def _usage(usage: _Usage) -> Usage:
    cached = usage.prompt_tokens_details.cached_tokens
    return Usage(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens, cached_tokens=cached)
