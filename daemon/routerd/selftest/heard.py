"""What one request brought its caller, at any front."""

from __future__ import annotations

from msgspec import Struct

from routerd_client import InterruptedAnswerError, RequestFailedError
from routerd_client.protocol import Delta, Done, Event, Retracted
from routerd_client.records import Attempt, Outcome


class Heard(Struct, kw_only=True):
    """What one request brought its caller. ``seconds`` is how long it took."""

    events: list[Event] = []
    failed: RequestFailedError | None = None
    seconds: float = 0.0

    @property
    def done(self) -> Done | None:
        return next((event for event in self.events if isinstance(event, Done)), None)

    @property
    def ends(self) -> int:
        """How many terminal events there were."""
        return sum(isinstance(event, Done) for event in self.events) + (self.failed is not None)

    @property
    def text(self) -> str:
        """What the caller holds at the end."""
        if isinstance(self.failed, InterruptedAnswerError):
            return self.failed.partial
        kept: list[str] = []
        for event in self.events:
            match event:
                case Delta():
                    kept.append(event.text)
                case Retracted():
                    kept.clear()
                case Done():
                    kept.append(event.text)
        return "".join(kept)

    @property
    def tries(self) -> str:
        """Its attempts in order, as `Expect` writes them."""
        attempts = self.done.attempts if self.done else self.failed.attempts if self.failed else []
        return ", ".join(a.backend if a.outcome is Outcome.OK else f"{a.backend}: {_how(a)}" for a in attempts)

    @property
    def story(self) -> str:
        """All of it in a line."""
        tried = f"{self.tries}; " if self.tries else ""
        if self.done:
            marked = f", marked {self.done.flaw.value}" if self.done.flaw else ""
            return f"{tried}the whole answer of {self.done.backend}{marked}"
        if self.failed is None:
            return f"{tried}no end"
        held = f" after {len(self.text)} characters" if self.text else ""
        later = f", again in {self.failed.retry_after:.0f} s" if self.failed.retry_after else ""
        return f"{tried}error {self.failed.code.value}{held}{later}"


def _how(attempt: Attempt) -> str:
    return attempt.failure.value if attempt.failure else attempt.outcome.value
