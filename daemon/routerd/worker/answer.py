"""One request's output side: from tokens to text, reasoning, tool calls and a finish reason."""

from __future__ import annotations

import secrets

from msgspec import Struct

from routerd_client.chat import FinishReason, Function, ToolCall, Usage

from .formats.segments import Segment
from .lm import Model
from .prompt import Prompt
from .stops import StopScanner

PRIMED = 4
"""Tokens before the answer that its detokenizer is told of; one that has text would do."""
LONGEST_SHOWN = 200
"""Characters of a broken call that the message includes."""


class Output(Struct):
    """What some tokens brought. Any of it may be empty. ``flaw``: why a call in ``text`` cannot be read."""

    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = []
    flaw: str = ""


class Answer:
    """Takes an answer's tokens one by one. ``finish_reason`` is set once it has ended.

    Stop strings count in the answer's visible text only: what a model thinks, or hands to a tool,
    is not the caller's to cut. White space next to a marker belongs to the marker. Calls are kept until the answer
    ends: where a later one is broken, another model may still be asked. A call that cannot be read is text, and a
    flaw.
    """

    def __init__(self, model: Model, prompt: Prompt, stops: list[str]) -> None:
        self._detokenizer = model.detokenizer()
        if prompt.continues:
            self._prime(prompt.ids[-PRIMED:])
        self._marks = model.grammar.marks
        self._segmenter = model.segmenter(prompt.initial_state, prompt.tools, fresh=not prompt.continues)
        self._stops = StopScanner(stops)
        self._kind = self._segmenter.kind
        self._after_marker = False
        self._calls: list[ToolCall] = []
        self._flawed = False
        self._prompt_tokens = len(prompt.ids)
        self._completion = self._reasoning = 0
        self.cached_tokens = 0
        self.finish_reason: FinishReason | None = None

    @property
    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion,
            cached_tokens=self.cached_tokens,
            reasoning_tokens=self._reasoning,
        )

    def _prime(self, before: list[int]) -> None:
        """Tell the detokenizer what was there before: it would take the answer's first space for its own."""
        for token in before:
            self._detokenizer.add_token(token)
        self._detokenizer.finalize()
        self._detokenizer.last_segment  # noqa: B018 - what was read is not told again

    def feed(self, token: int, finish: str | None) -> Output:
        """Take the next token. ``finish`` is the generator's word on it: ``stop`` (it is an end token),
        ``length`` (it is the last one), or ``None``."""
        self._completion += 1
        coded = self._last(token) if finish == "stop" else self._coded(token)
        if finish:
            self._detokenizer.finalize()
            coded = (
                self._detokenizer.last_segment + coded if finish == "stop" else coded + self._detokenizer.last_segment
            )
        output = Output()
        self._take(self._segmenter.feed(coded), output)
        self._reasoning += self._segmenter.kind == "reasoning"
        if finish:
            self._end(finish, output)
        elif self._stops.hit:
            self._finish(FinishReason.STOP, output)
        return output

    def _coded(self, token: int) -> str:
        """The text that ``token`` brings, markers as the format codes them."""
        code = self._marks.of(token)
        if code:
            self._detokenizer.finalize()  # no character reaches over a marker
        else:
            self._detokenizer.add_token(token)
        text: str = self._detokenizer.last_segment
        return text + code

    def _last(self, token: int) -> str:
        """Return the code of the end token if it may close a call."""
        return self._marks.of(token) if self._segmenter.kind == "call" else ""

    def _end(self, finish: str, output: Output) -> None:
        self._take(self._segmenter.flush(), output)
        output.text += self._stops.flush()
        cut = finish == "length" and not self._stops.hit
        self._finish(FinishReason.LENGTH if cut else FinishReason.STOP, output)

    def _finish(self, reason: FinishReason, output: Output) -> None:
        output.tool_calls = self._calls
        if self._calls and not self._flawed and reason is FinishReason.STOP:
            reason = FinishReason.TOOL_CALLS
        self.finish_reason = reason

    def _take(self, segments: list[Segment], output: Output) -> None:
        for segment in segments:
            if segment.kind != self._kind:
                # No stop string reaches over a marker.
                output.text += self._stops.flush()
                self._kind, self._after_marker = segment.kind, True
            self._add(segment, output)

    def _add(self, segment: Segment, output: Output) -> None:
        if segment.kind == "call":
            self._call(segment, output)
            return
        text = segment.text
        if self._after_marker:
            text = text.lstrip()
            self._after_marker = not text
        if segment.kind == "reasoning":
            output.reasoning += text
        else:
            output.text += self._stops.feed(text)

    def _call(self, segment: Segment, output: Output) -> None:
        if self._stops.hit:
            return
        reading = segment.reading
        for read in reading.calls:
            function = Function(read.name, read.arguments)
            taken = not read.id or read.id in [call.id for call in self._calls]
            id_ = f"call_{secrets.token_hex(12)}" if taken else read.id
            self._calls.append(ToolCall(id_, function, index=len(self._calls)))
        if reading.why:
            self._flawed = True
            output.text += segment.before + reading.left if reading.calls else segment.text
            shown = reading.left[:LONGEST_SHOWN]
            output.flaw = f"the model wrote a tool call that cannot be read: {shown!r} ({reading.why})"
        elif reading.left:
            self._kind, self._after_marker = "text", bool(reading.calls)
            self._add(Segment("text", reading.left), output)
