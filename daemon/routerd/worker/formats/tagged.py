"""Segmenter for formats with start and end markers around reasoning and calls."""

from __future__ import annotations

import re

from .grammar import Grammar, Pair, Tag
from .marks import has_code
from .reading import Reading, Tools
from .segments import Kind, Segment, first, partial

BLANK = 100
"""Characters searched for the first one of a call."""
_QUOTES = re.compile(r'(?<!\\)(?:\\\\)*"')


class Tagged:
    """A `Segmenter` of marked answers.

    A marker token counts anywhere in the answer. A marker written as plain text opens reasoning only at the start of
    the answer. Either kind opens a call only if a call follows it. ``opened``: the prompt ends inside the reasoning.
    ``fresh``: False if the answer continues an existing beginning.
    """

    def __init__(self, grammar: Grammar, tools: Tools, *, opened: bool = False, fresh: bool = True) -> None:
        self._grammar = grammar
        self._tools = tools
        self._tags = grammar.tags if tools else []
        self._opens = [tag.open for tag in self._tags]
        self._thinks = [pair.open for pair in grammar.pairs if has_code(pair.open)]
        self._held = ""
        self._last = ""
        self._begun = opened or not fresh
        self._pair: Pair | None = grammar.pairs[0] if opened and grammar.pairs else None
        self._by_text = False
        self._by_prompt = self._twice = opened
        """``_twice``: the model may repeat the marker that the prompt ends with."""
        self._tag: Tag | None = None
        self._sure = False
        self._scanned = 0
        self._wrapper: Pair | None = None
        self._may_wrap = False
        self._unclosed: list[str] = []
        """End markers to drop, because a call has already ended what they would close."""

    @property
    def kind(self) -> Kind:
        if self._tag and self._sure:
            return "call"
        return "reasoning" if self._pair else "text"

    def feed(self, coded: str) -> list[Segment]:
        self._held += coded
        return self._run(ended=False)

    def flush(self) -> list[Segment]:
        return self._run(ended=True)

    def _run(self, *, ended: bool) -> list[Segment]:
        out: list[Segment] = []
        while self._step(out, ended=ended):
            pass
        return out

    def _step(self, out: list[Segment], *, ended: bool) -> bool:
        """Process the next part of the held text; return False if more text is needed."""
        if self._tag:
            return self._call(out, ended=ended) if self._sure else self._decide(out, ended=ended)
        if self._pair:
            return self._think(out, self._pair, ended=ended)
        if not self._begun or self._may_wrap:
            return self._begin(ended=ended)
        return self._text(out, ended=ended)

    def _begin(self, *, ended: bool) -> bool:
        """Process the start of the answer, or of the text after the reasoning."""
        text = self._held.lstrip()
        opening = self._grammar.wrappers if self._begun else self._openings()
        if not ended and (not text or any(p.open.startswith(text) and p.open != text for p in opening)):
            return False
        found = next((pair for pair in opening if text.startswith(pair.open)), None)
        if found and self._begun:
            self._wrapper, self._held = found, text[len(found.open) :].lstrip()
        elif found:
            after = text[len(found.open) :]
            if found.open in self._grammar.unknown and not after and not ended:
                return False
            if found.open not in self._grammar.unknown or after.startswith("\n"):
                self._pair, self._by_text, self._held = found, not has_code(found.open), after
        elif not self._begun and self._tools and self._grammar.bare:
            return self._bare(text, ended=ended)
        self._begun, self._may_wrap = True, False
        return True

    def _openings(self) -> list[Pair]:
        """List the markers that open reasoning at the start of an answer: tokens and their plain texts."""
        plain = self._grammar.marks.plain
        coded = [pair for pair in self._grammar.pairs if has_code(pair.open)]
        return [*self._grammar.pairs, *(Pair(plain(pair.open), pair.close) for pair in coded)]

    def _bare(self, text: str, *, ended: bool) -> bool:
        """Detect a call without a marker."""
        for tag in self._grammar.bare:
            found = self._grammar.begins(tag, self._tools).match(text, partial=True)
            if found and not found.partial:
                self._tag, self._sure, self._scanned, self._held = tag, True, 0, text
                break
            if found and not ended:
                return False
        self._begun = True
        return True

    def _text(self, out: list[Segment], *, ended: bool) -> bool:
        dropped = [*self._grammar.dropped, *self._unclosed]
        markers = [*self._opens, *self._thinks, *dropped]
        found = first(self._held, markers)
        if found is None:
            self._plain(out, markers, ended=ended)
            return False
        at, marker = found
        self._emit(out, "text", self._held[:at])
        if not ended and any(each != marker and each.startswith(self._held[at:]) for each in self._thinks):
            self._held = self._held[at:]
            return False  # may become a longer marker
        self._held = self._held[at + len(marker) :]
        if marker in self._opens and not self._last.endswith("`"):
            self._tag, self._sure = next(tag for tag in self._tags if tag.open == marker), False
        elif marker in self._thinks:
            self._pair = next(pair for pair in self._grammar.pairs if pair.open == marker)
            self._by_text = False
        elif marker not in dropped:
            self._emit(out, "text", marker)
        return True

    def _plain(self, out: list[Segment], markers: list[str], *, ended: bool) -> None:
        """Emit the text that cannot be part of a marker or of the wrapper's end."""
        text, closed = self._held, False
        if self._wrapper:
            body = text.rstrip()
            closed = body.endswith(self._wrapper.close)
            size = len(self._wrapper.close) if closed else partial(body, [*markers, self._wrapper.close])
            sure = len(body[: len(body) - size].rstrip())
        else:
            sure = len(text) - partial(text, markers)
        self._emit(out, "text", text if ended and not closed else text[:sure])
        self._held = "" if ended else text[sure:]

    def _think(self, out: list[Segment], pair: Pair, *, ended: bool) -> bool:
        if self._twice:
            text = self._held.lstrip()
            opens = [each.open for each in self._grammar.pairs]
            if not ended and any(opening.startswith(text) and opening != text for opening in opens):
                return False
            self._twice = False
            self._held = next((text.removeprefix(o) for o in opens if text.startswith(o)), self._held)
        # It is not known which marker the prompt ended with.
        closes = [each.close for each in self._grammar.pairs] if self._by_prompt else [pair.close]
        if self._by_text:
            closes.append(self._grammar.marks.plain(pair.close))
        opens = [tag.open for tag in self._tags if has_code(tag.open)]
        found = first(self._held, [*closes, *opens])
        if found is None:
            keep = 0 if ended else partial(self._held, [*closes, *opens])
            self._emit(out, "reasoning", self._held[: len(self._held) - keep])
            self._held = self._held[len(self._held) - keep :]
            return False
        at, marker = found
        self._emit(out, "reasoning", self._held[:at])
        self._held = self._held[at + len(marker) :]
        if marker in closes:
            self._pair, self._may_wrap, self._by_prompt = None, bool(self._grammar.wrappers), False
        else:
            self._tag, self._sure = next(tag for tag in self._tags if tag.open == marker), False
        return True

    def _decide(self, out: list[Segment], *, ended: bool) -> bool:
        """Decide whether a call follows the marker; if not, the marker is text."""
        assert self._tag
        found = self._grammar.begins(self._tag, self._tools).match(self._held, partial=True)
        if found and not found.partial:
            self._sure, self._scanned = True, 0
            self._unclosed = [self._pair.close] if self._pair else []
            self._pair = None  # a call ends the reasoning
            return True
        if found and not ended:
            return False
        self._emit(out, "reasoning" if self._pair else "text", self._tag.open)
        self._tag = None
        return True

    def _call(self, out: list[Segment], *, ended: bool) -> bool:
        assert self._tag
        found = self._end_of_call(self._tag, ended=ended)
        if found is None and not ended:
            return False
        at, marker = found or (len(self._held), "")
        plain = self._grammar.marks.plain
        closing = "" if marker == self._tag.open else marker
        inner, opening = plain(self._held[:at]), plain(self._tag.open)
        cut = not marker and re.match(self._tag.unsure, inner, re.DOTALL)
        reading = Reading([], inner, "it is cut") if cut else self._tag.read(inner, self._tools)
        out.append(Segment("call", opening + inner + plain(closing), reading, opening))
        self._held = self._held[at + len(closing) :]
        if self._tag.stray:
            self._unclosed = [*self._unclosed, self._tag.stray]
        self._tag, self._last = None, ""
        return True

    def _end_of_call(self, tag: Tag, *, ended: bool) -> tuple[int, str] | None:
        """Find the end of the call: its position and marker. A marker in plain text ends JSON outside of strings, and
        other calls only if no token does."""
        json = self._held[:BLANK].lstrip()[:1] in ("{", "[")
        spelled = [self._grammar.marks.plain(tag.close)] if tag.close else []
        markers = [marker for marker in (tag.close, tag.open) if marker]
        markers += spelled if json or ended else []
        at = max(0, self._scanned - max(map(len, markers), default=0))
        while found := first(self._held[at:], markers):
            place, marker = at + found[0], found[1]
            within = _in_string(self._held[:place]) if json else marker == tag.open
            if has_code(marker) or not within:
                return place, marker
            at = place + 1
        self._scanned = len(self._held)
        return None

    def _emit(self, out: list[Segment], kind: Kind, coded: str) -> None:
        if coded:
            text = self._grammar.marks.plain(coded)
            self._last = text[-1]
            out.append(Segment(kind, text))


def _in_string(json: str) -> bool:
    """Return True if ``json`` ends inside a string."""
    return len(_QUOTES.findall(json)) % 2 == 1
