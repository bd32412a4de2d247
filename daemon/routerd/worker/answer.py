"""One request's output side: from tokens to text, reasoning, tool calls and a finish reason."""

from __future__ import annotations

import json
import secrets
from typing import Any

from msgspec import Struct

from routerd_client.chat import FinishReason, Function, ToolCall, Usage
from routerd_client.records import FailureKind

from .lm import Model
from .prompt import Prompt
from .stops import StopScanner
from .validate import RequestError

PRIMED = 4
"""Tokens before the answer that its detokenizer is told of; one that has text would do."""


class Output(Struct):
    """What some tokens brought. Any of it may be empty."""

    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = []


class Answer:
    """Takes an answer's tokens one by one. ``finish_reason`` is set once it has ended.

    Stop strings count in the answer's visible text only: what a model thinks, or hands to a tool,
    is not the caller's to cut. White space next to a marker belongs to the marker.
    """

    def __init__(self, model: Model, prompt: Prompt, stops: list[str]) -> None:
        self._model = model
        self._tools = prompt.tools
        self._detokenizer = model.detokenizer()
        if prompt.continues:
            self._prime(prompt.ids[-PRIMED:])
        self._segmenter = model.segmenter(prompt.initial_state, tools=bool(prompt.tools))
        self._stops = StopScanner(stops)
        self._state = prompt.initial_state
        self._after_marker = False
        self._tool_text = ""
        self._calls = 0
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
        ``length`` (it is the last one), or ``None``.

        Raises `RequestError` kind ``malformed`` for a tool call that cannot be read.
        """
        self._completion += 1
        if finish != "stop":
            self._detokenizer.add_token(token)
        if finish:
            self._detokenizer.finalize()
        output = Output()
        self._take(self._segmenter.feed(self._detokenizer.last_segment), output)
        self._reasoning += self._state == "reasoning"
        if finish:
            self._end(finish, output)
        elif self._stops.hit:
            self._finish(FinishReason.STOP)
        return output

    def _end(self, finish: str, output: Output) -> None:
        self._take(self._segmenter.flush(), output)
        output.text += self._stops.flush()
        if finish == "length" and not self._stops.hit:
            # A call cut short is no call: the finish reason says what happened.
            self.finish_reason = FinishReason.LENGTH
            return
        self._close_tool(output)
        self._finish(FinishReason.STOP)

    def _finish(self, reason: FinishReason) -> None:
        self.finish_reason = FinishReason.TOOL_CALLS if self._calls else reason

    def _take(self, segments: list[tuple[str, str]], output: Output) -> None:
        for state, text in segments:
            if state != self._state:
                self._enter(state, output)
            self._add(state, text, output)

    def _enter(self, state: str, output: Output) -> None:
        if self._state == "tool":
            self._close_tool(output)
        # No stop string reaches over a marker.
        output.text += self._stops.flush()
        self._state, self._after_marker = state, True

    def _add(self, state: str, text: str, output: Output) -> None:
        if state == "tool":
            self._tool_text += text
            return
        if self._after_marker:
            text = text.lstrip()
            self._after_marker = not text
        if state == "reasoning":
            output.reasoning += text
        elif state == "normal":
            output.text += self._stops.feed(text)

    def _close_tool(self, output: Output) -> None:
        text, self._tool_text = self._tool_text, ""
        if not text.strip() or self._stops.hit:
            return
        try:
            calls = [self._call(call) for call in self._model.parse_tool_calls(text, self._tools)]
        except Exception as exc:  # each model family has its own parser, each with its own exceptions
            raise RequestError(
                FailureKind.MALFORMED, f"the model wrote a tool call that cannot be read: {text[:200]!r} ({exc})"
            ) from exc
        output.tool_calls = [*output.tool_calls, *calls]

    def _call(self, parsed: dict[str, Any]) -> ToolCall:
        name, arguments = parsed["name"], parsed.get("arguments", {})
        if not isinstance(name, str) or not name:
            raise ValueError("it names no function")
        if isinstance(arguments, str):
            arguments = json.loads(arguments)
        function = Function(name, json.dumps(arguments, ensure_ascii=False))
        call = ToolCall(id=f"call_{secrets.token_hex(12)}", function=function, index=self._calls)
        self._calls += 1
        return call
