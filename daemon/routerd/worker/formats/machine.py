"""Segmenter on mlx-lm's own state machine."""

from __future__ import annotations

from typing import Any

from .blocks import Parse
from .marks import Marks
from .reading import Reading, Tools, UnreadableError
from .segments import Kind, Segment

_KINDS: dict[str, Kind] = {"reasoning": "reasoning", "tool": "call"}


class Machine:
    """A `Segmenter` for models whose response format mlx-lm defines: ``machine`` is its ``TextStateMachine``.

    The machine searches plain text, so ``marks`` decodes the answer first.
    """

    def __init__(self, machine: Any, initial: str, parse: Parse, tools: Tools, marks: Marks) -> None:
        self._machine = machine
        self._state = machine.make_state(initial)
        self._parse = parse
        self._tools = tools
        self._marks = marks
        self._call = ""

    @property
    def kind(self) -> Kind:
        return _KINDS.get(str(self._state[0]), "text")

    def feed(self, coded: str) -> list[Segment]:
        self._state, found = self._machine.split(self._state, self._marks.plain(coded))
        out: list[Segment] = []
        for state, text in found:
            if state != "tool" and self._call:
                out.append(self._read())
            if state == "tool":
                self._call += text
            elif text and state != "header":
                out.append(Segment(_KINDS.get(state, "text"), text))
        return out

    def flush(self) -> list[Segment]:
        self._state, held, state = self._machine.flush(self._state)
        if state == "tool":
            self._call += held
            held = ""
        out = [self._read()] if self._call else []
        return [*out, Segment(_KINDS.get(state, "text"), held)] if held else out

    def _read(self) -> Segment:
        text, self._call = self._call, ""
        try:
            reading = Reading(self._parse(text, self._tools))
        except UnreadableError as error:
            reading = Reading([], text, str(error))
        return Segment("call", text, reading)
