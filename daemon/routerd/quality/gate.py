"""The hold-back gate: how much of an answer may be released while it may still be taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Literal, Protocol, TypeVar

from routerd_client.chat import FinishReason, ToolCall

from .degenerate import NOTHING_ASKED, Ask, Fault, Finding, broken, faults
from .refusal import Verdict, glance, judge

CHARS = 160
SECONDS = 0.4


class Part(Protocol):
    """A piece of an answer, as a backend sends it; any of its fields may be empty."""

    @property
    def text(self) -> str: ...
    @property
    def reasoning(self) -> str: ...
    @property
    def tool_calls(self) -> Sequence[ToolCall]: ...
    @property
    def flaw(self) -> str:
        """Why a tool call cannot be read, which is then part of the text."""


P = TypeVar("P", bound=Part)


def examine(
    text: str,
    *,
    tool_calls: Sequence[ToolCall] = (),
    finish_reason: FinishReason | None = None,
    refusal_field: str = "",
    broken_call: str = "",
    empty: int = 0,
    ask: Ask = NOTHING_ASKED,
    watch: frozenset[Fault] | None = None,
) -> Finding | None:
    """The first fault of a whole answer that is in ``watch`` (None: the first of all). ``broken_call``: why a call in
    it cannot be read; ``empty``: so many pieces at its end brought nothing."""
    verdict = judge(
        text,
        finish_reason=finish_reason,
        refusal_field=refusal_field,
        tool_calls=bool(tool_calls),
        prompt=ask.prompt,
    )
    filtered = finish_reason is FinishReason.CONTENT_FILTER
    found = [
        _filtered() if filtered else None,
        _refused(verdict) if verdict.refusal and (refusal_field or verdict.kind != "silent") else None,
    ]
    if broken_call:  # the call is part of the text, and nothing else can be said of that
        found.append(Finding("broken_call", broken_call))
    else:
        found += faults(text, tool_calls=tool_calls, finish_reason=finish_reason, empty=empty, ask=ask)
    return next((each for each in found if each and (watch is None or each.fault in watch)), None)


class Gate(Generic[P]):
    """Holds the pieces of one answer back until it is sure that they may go. No clock: every call takes the time.

    ``live`` holds text until its beginning is surely no refusal, or until ``chars`` characters or ``seconds`` from
    the first of them have passed and what there is is none; a sound tool call lets it go as well. ``safe`` holds
    all until `release`, once somebody has looked at the whole (`examine`).

    In live mode reasoning goes at once: it is no answer yet. What only the whole shows (hedging, loops, broken
    JSON) only safe mode can hold back. Faults not in ``watch`` are not looked for.

    Every piece is released once, in order. After a `Finding` nothing moves until `release`.
    """

    def __init__(
        self,
        mode: Literal["live", "safe"] = "live",
        *,
        watch: frozenset[Fault],
        ask: Ask = NOTHING_ASKED,
        chars: int = CHARS,
        seconds: float = SECONDS,
    ) -> None:
        self._mode = mode
        self._watch = watch
        self._ask = ask
        self._chars = chars
        self._seconds = seconds
        self._held: list[P] = []
        self._text: list[str] = []
        self._began: float | None = None
        self._open = False

    def __repr__(self) -> str:
        state = "open" if self._open else f"holds {len(self._held)} pieces"
        return f"<Gate {self._mode} {state}>"

    @property
    def open(self) -> bool:
        """Whether everything that comes goes straight through."""
        return self._open

    @property
    def due_at(self) -> float | None:
        """When to call `due`, on the clock that `feed` was told; None for never."""
        if self._mode == "safe" or self._open or self._began is None:
            return None
        return self._began + self._seconds

    def feed(self, piece: P, now: float) -> list[P] | Finding:
        """Take the next piece; what may be released now (perhaps nothing), or why the answer is to be dropped."""
        if self._open:
            return [piece]
        self._held.append(piece)
        self._text.append(piece.text)
        if self._mode == "safe":
            return []
        if piece.flaw and "broken_call" in self._watch:
            return Finding("broken_call", piece.flaw)
        if self._began is None and piece.text.strip():
            self._began = now
        if piece.tool_calls:
            return self._called(piece.tool_calls)
        if self._began is None:
            return self._reasoning()
        return self._look(now)

    def due(self, now: float) -> list[P] | Finding:
        """The time of `due_at` has come: as `feed`, without a piece."""
        return [] if self.due_at is None else self._look(now)

    def hold(self, piece: P) -> None:
        """Take a piece that comes after a `Finding`: it stays behind the others until `release`."""
        self._held.append(piece)

    def release(self) -> list[P]:
        """Let everything go, whatever was found; from now on the gate is open."""
        self._open = True
        held, self._held = self._held, []
        return held

    def _called(self, calls: Sequence[ToolCall]) -> list[P] | Finding:
        if "degenerate" in self._watch and (wrong := broken(calls, self._ask.tools)):
            return Finding("degenerate", wrong)
        return self.release()

    def _reasoning(self) -> list[P]:
        """Blank text may be all there is, so it waits, and what comes after it waits too."""
        if any(piece.text for piece in self._held):
            return []
        held, self._held = self._held, []
        return held

    def _look(self, now: float) -> list[P] | Finding:
        text = "".join(self._text)
        assert self._began is not None
        bound = len(text) >= self._chars or now >= self._began + self._seconds
        if "refusal" not in self._watch:
            return self.release()  # it has text, so it is not empty, and that is all there is to see
        verdict = glance(text, whole=bound, prompt=self._ask.prompt)
        if verdict is None:
            return []
        return _refused(verdict) if verdict.refusal else self.release()


def _refused(verdict: Verdict) -> Finding:
    said = {
        "hedged": "the answer lectures or hedges, and says nothing",
        "silent": "the model refused, by a typed refusal",
    }
    fault: Fault = "hedged" if verdict.kind == "hedged" else "refusal"
    return Finding(fault, said.get(verdict.kind, "the answer refuses the request"), verdict.confidence)


def _filtered() -> Finding:
    return Finding("content_filter", "the provider's content filter stopped the answer")
