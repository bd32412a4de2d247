"""Segmenter of harmony, the format of gpt-oss: messages on channels, each with a header."""

from __future__ import annotations

import re

import regex

from .marks import FIRST, MOST, Marks
from .reading import Reading, Tools, UnreadableError, call, decode, names
from .segments import Kind, Segment, first, partial

TOKENS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>", "<|constrain|>")
_CODES = f"{chr(FIRST)}-{chr(FIRST + MOST - 1)}"
_RECIPIENT = re.compile(rf"to=([^\s{_CODES}]+)")
_BEGUN = regex.compile(rf"\s*(?:assistant)?\s*(?:to=[^\s{_CODES}]+\s*)?[{_CODES}]")
"""The start of a header, up to its first token."""
_BARE_HEADER = re.compile(r"\s*(?:assistant)?[\s\w.=<|>]{0,60}")


class Harmony:
    """A `Segmenter` of harmony. ``opened``: the prompt ends inside the analysis channel; ``header``: it ends inside a
    message header."""

    def __init__(self, marks: Marks, tools: Tools, *, opened: bool = False, header: bool = False) -> None:
        self._marks = marks
        self._tools = tools
        self._start, self._channel, self._message, self._end, self._return, self._call, _ = map(marks.code, TOKENS)
        self._held = ""
        self._header: str | None = "" if header else None
        self._guessed = header
        self._kind: Kind = "reasoning" if opened else "text"
        self._recipient = ""
        self._head = ""

    @property
    def kind(self) -> Kind:
        return self._kind

    def feed(self, coded: str) -> list[Segment]:
        self._held += coded
        return self._run(ended=False)

    def flush(self) -> list[Segment]:
        return self._run(ended=True)

    def _run(self, *, ended: bool) -> list[Segment]:
        out: list[Segment] = []
        while self._body(out, ended=ended) if self._header is None else self._read_header(out, ended=ended):
            pass
        return out

    def _read_header(self, out: list[Segment], *, ended: bool) -> bool:
        if self._guessed:
            return self._guess(ended=ended)
        # A header contains no answer text, so a marker spelled in plain characters counts here too.
        spelled = self._marks.code(self._held)
        at = spelled.find(self._message)
        if at >= 0:
            self._enter((self._header or "") + spelled[:at])
            self._held = spelled[at + len(self._message) :]
            return True
        if ended:
            text = self._marks.plain(self._held)
            if not _BARE_HEADER.fullmatch(text):
                out.append(Segment("text", text))  # show it rather than lose it
            self._held = ""
        return False

    def _guess(self, *, ended: bool) -> bool:
        """Decide whether a header or plain text follows."""
        found = _BEGUN.match(self._held, partial=True)
        if found and found.partial and not ended:
            return False
        self._guessed = False
        if found is None or found.partial:
            self._header = None  # plain text without a channel
        return True

    def _enter(self, header: str) -> None:
        """Start a message that has ``header``."""
        _, _, channel = header.rpartition(self._channel)
        found = _RECIPIENT.search(header)
        self._recipient = found[1] if found else ""
        self._head = self._marks.plain(f"{header}{self._message}")
        self._header, self._guessed = None, False
        if self._recipient and self._tools and self._name() is not None:
            self._kind = "call"
        elif channel.lstrip().startswith("analysis") or (self._recipient and self._name() is None):
            self._kind = "reasoning"
        else:
            self._kind = "text"

    def _name(self) -> str | None:
        """Return the function that the message calls, None for a built-in tool of the model."""
        if self._recipient.startswith("functions."):
            return self._recipient.removeprefix("functions.")
        return self._recipient if self._recipient in names(self._tools) else None

    def _body(self, out: list[Segment], *, ended: bool) -> bool:
        ends = [self._start, self._channel, self._end, self._return, self._call]
        found = first(self._held, ends)
        if self._kind == "call" and found is None and not ended:
            return False
        keep = 0 if ended or found else partial(self._held, ends)
        at, marker = found or (len(self._held) - keep, "")
        self._give(out, self._held[:at], closed=bool(marker))
        self._held = self._held[at + len(marker) :]
        if not marker:
            return False
        self._kind, self._recipient = "text", ""
        if marker in (self._start, self._channel):
            self._header = marker
        else:
            self._header, self._guessed = "", True  # another message follows
        return True

    def _give(self, out: list[Segment], coded: str, *, closed: bool) -> None:
        text = self._marks.plain(coded)
        if self._kind == "call":
            if text or closed:
                out.append(Segment("call", self._head + text, self._read(text), self._head))
        elif text:
            out.append(Segment(self._kind, text))

    def _read(self, text: str) -> Reading:
        try:
            return Reading([call(self._name(), decode(text) if text.strip() else {})])
        except UnreadableError as error:
            return Reading([], text, str(error))
