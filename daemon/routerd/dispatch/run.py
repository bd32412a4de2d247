"""The state of one request on its way through its attempts: what was tried, what was kept, how it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter

from msgspec import Struct
from msgspec.structs import replace

from routerd_client.chat import ChatRequest, FinishReason, Message, Usage
from routerd_client.protocol import Done, Error, ErrorCode, Event, Routed
from routerd_client.records import Attempt, Candidate, FailureKind, Outcome

from ..backends.base import Backend, BackendError, End
from ..health.failure import RULES
from ..quality.degenerate import Finding
from ..routing.decide import Decided
from ..routing.terms import Terms
from .embed import Embedding
from .escalate import may_pass_over, watched
from .reception import Reception

Emit = Callable[[Event], Awaitable[None]]
OWNED = "mlx"
"""The kind of the backends whose processes the daemon owns."""


class Call(Struct, frozen=True):
    """One chat as it arrived: ``id`` is the client's, ``request_id`` ours, ``client`` the peer's name. ``embedding``:
    what is wanted is vectors of its text. ``left_out`` names what no backend is told, ``read`` the fields of the
    chat's ``extra`` whose meaning the rest of it has."""

    id: int
    request_id: str
    chat: ChatRequest
    restarts: bool = False
    client: str = ""
    embedding: Embedding | None = None
    left_out: list[str] = []
    read: frozenset[str] = frozenset()


class Answer(Struct, frozen=True):
    """A whole answer, and who gave it. ``finding`` is what is wrong with it, if anything."""

    backend: Backend
    reception: Reception
    end: End
    finding: Finding | None = None


class Run:
    """One request's progress. Every event it emits carries the number of the attempt it belongs to."""

    def __init__(self, call: Call, decided: Decided, chat: ChatRequest, emit: Emit) -> None:
        self.call = call
        self.decided = decided
        self.chat = chat
        self.decision = decided.decision
        self.terms = decided.terms
        self.attempts: list[Attempt] = []
        self.passed_over: list[str] = []
        """Candidates that could not be tried after all, each with its reason."""
        self.deaths = 0
        """How many model processes have died with this request, those of earlier identical requests among them."""
        self.kept_back = ""
        """Why no owned model is tried any more; ``""`` where one may be."""
        self.retries = 0
        """How often a backend was asked once more before the next."""
        self.spare: Answer | None = None
        """The first answer that was passed over: what the caller gets if nobody does better."""
        self.asked = chat
        """What the next attempt is asked: ``chat``, or to go on from what the caller holds."""
        self.began = 0
        """The attempt that began the answer that others go on with; 0 where there is none."""
        self.usage: Usage | None = None
        """What the attempt under way used, None where nobody knows."""
        self.cost = 0
        """What it cost, in micro-dollars."""
        self._pieces = 0
        self._hops = 0
        self._refused = self._broken = False
        self._emit = emit
        self._arrived = perf_counter()
        self.reception = self._receive(judged=False)

    def _receive(self, *, judged: bool) -> Reception:
        before = self.reception.text if self.began else ""
        return Reception(self.call.id, self.number, self.chat, self.terms, self._emit, judged=judged, before=before)

    @property
    def number(self) -> int:
        """The number of the attempt under way, from 1."""
        return len(self.attempts) + 1

    @property
    def attempt_terms(self) -> Terms:
        """The terms of the attempt under way."""
        return replace(self.terms, alone=True) if self.deaths else self.terms

    @property
    def final(self) -> bool:
        """Whether the caller holds something of this attempt that cannot be taken back."""
        return self.reception.released and (bool(self.reception.tool_calls) or not self.call.restarts)

    async def start(self, backend: Backend, candidate: Candidate) -> None:
        """An attempt on ``backend`` begins."""
        judged = backend.name in self.terms.judges
        if self.attempts or judged:  # the one it began with serves for the first attempt
            self.reception = self._receive(judged=judged)
        self.usage, self.cost = None, 0
        if self.deaths and backend.kind == OWNED:
            self.kept_back = "one more owned model was tried after a model process had died with this request"
        await self._emit(
            Routed(
                id=self.call.id,
                attempt=self.number,
                request_id=self.call.request_id,
                backend=backend.name,
                model=backend.model,
                endpoint=self.decision.endpoint,
                route=self.decision.route,
                reasons=candidate.reasons,
                dropped=self._dropped(backend),
            )
        )

    def _dropped(self, backend: Backend) -> list[str]:
        """What ``backend`` is not told of the request, or does not do."""
        call = self.call
        names = [] if call.embedding else backend.dropped(self.chat, call.read)
        return list(dict.fromkeys([*call.left_out, *names]))

    def end_attempt(
        self, backend: str, failure: BackendError | None, *, finding: Finding | None = None, cancelled: bool = False
    ) -> None:
        """Record how the attempt under way ended. ``finding``: it ended, and its answer was found wanting."""
        outcome = Outcome.CANCELLED if cancelled else Outcome.FAILED if failure or finding else Outcome.OK
        wrong = failure or finding
        self.attempts.append(
            Attempt(
                number=self.number,
                backend=backend,
                outcome=outcome,
                failure=wrong.kind if wrong else None,
                message=wrong.message if wrong else "",
                ttft_s=self.reception.ttft_s,
                total_s=self.reception.total_s,
                usage=self.usage,
                cost_microusd=self.cost,
            )
        )

    def denied(self, backend: str, denial: BackendError) -> None:
        """Record an attempt on ``backend`` that money or a quota forbade before it began."""
        self.attempts.append(
            Attempt(
                number=self.number,
                backend=backend,
                outcome=Outcome.FAILED,
                failure=denial.kind,
                message=denial.message,
            )
        )

    def minds(self, finding: Finding | None) -> bool:
        """Whether the request's terms call the answer under way a failure for what is wrong with it.

        Not where the caller holds a part of it already, unless it can be taken back.
        """
        return finding is not None and not self.final and finding.fault in watched(self.terms)

    def wants_better(self, finding: Finding | None, *, more: bool) -> bool:
        """Whether the answer under way is to be passed over; ``more`` candidates are left."""
        if finding is None or not more or not self.minds(finding):
            return False
        return may_pass_over(finding, self.terms, self._hops, refused=self._refused, broken=self._broken)

    def pass_over(self, answer: Answer) -> None:
        """Keep ``answer`` for the case that nobody does better. Call it after `end_attempt`."""
        assert answer.finding
        self._hops += 1
        self._refused = self._refused or answer.finding.kind is FailureKind.REFUSAL
        self._broken = self._broken or answer.finding.fault == "broken_call"
        self.spare = self.spare or answer

    def may_go_on(self) -> bool:
        """Whether another backend can go on with what the caller holds of the attempt that has just failed."""
        return not self.reception.tool_calls and bool(self.reception.text.strip())

    async def go_on(self) -> None:
        """Have the next attempt go on from what the caller holds of the one that has just ended."""
        await self.reception.release()
        self.began = self.began or self.reception.attempt
        messages, begun = self.chat.messages, self.reception.text.rstrip()
        if self.chat.continues:
            messages, begun = messages[:-1], messages[-1].text + begun
        # How many tokens they were nobody has told; no piece has fewer than one.
        self._pieces += self.reception.pieces
        left = self.chat.max_tokens and max(1, self.chat.max_tokens - self._pieces)
        self.asked = replace(
            self.chat, messages=[*messages, Message("assistant", begun)], continues=True, max_tokens=left
        )

    async def retract(self, reason: str) -> None:
        """Take back what was released of the attempt that has just ended."""
        await self.reception.take_back(reason)

    async def done(self, answer: Answer) -> Done:
        """The terminal event of ``answer``, after all that is still held of it; call it after `end_attempt`.

        Where it is no better than one that was passed over before, that one is the answer.
        """
        if self.spare and self.minds(answer.finding):
            answer = self.spare
        reception, end, backend = answer.reception, answer.end, answer.backend
        if reception is not self.reception:
            await self.retract("an earlier answer was no worse")
            self.reception = reception
        await reception.release()
        finish = end.finish_reason
        if finish is FinishReason.TOOL_CALLS and (reception.flaw or not reception.tool_calls):
            finish = FinishReason.STOP  # a client would run an incomplete set of calls
        elif reception.tool_calls and not reception.flaw and finish is FinishReason.STOP:
            finish = FinishReason.TOOL_CALLS
        decoded = end.usage.completion_tokens - 1
        return Done(
            id=self.call.id,
            attempt=reception.attempt,
            began=self.began,
            request_id=self.call.request_id,
            backend=backend.name,
            model=backend.model,
            endpoint=self.decision.endpoint,
            route=self.decision.route,
            finish_reason=finish,
            usage=end.usage,
            message=None if self.chat.stream else reception.message(end.refusal),
            refusal=end.refusal,
            dropped=self._dropped(backend),
            logprobs=[] if self.chat.stream else reception.logprobs,
            cost_microusd=sum(attempt.cost_microusd for attempt in self.attempts),
            ttft_s=None if reception.first_s is None else reception.first_s - self._arrived,
            tokens_per_second=decoded / end.decode_s if end.decode_s and decoded > 0 else None,
            attempts=self.attempts,
            flaw=answer.finding.kind if answer.finding else None,
            flaw_message=answer.finding.message if answer.finding else "",
        )

    def error(
        self,
        code: ErrorCode,
        message: str,
        *,
        hint: str = "",
        retry_after: float | None = None,
        failure: FailureKind | None = None,
    ) -> Error:
        """A terminal event that says the request failed."""
        return Error(
            id=self.call.id,
            code=code,
            message=message,
            hint=hint,
            retryable=code in _RETRYABLE,
            retry_after=retry_after,
            request_id=self.call.request_id,
            attempts=self.attempts,
            failure=failure,
            route=self.decision.route,
        )

    def failed(self, failure: BackendError) -> Error:
        """The request ends with this failure, though others might have been asked."""
        code = ErrorCode.INTERRUPTED if self.reception.released else _code(failure)
        return self.error(
            code, failure.message, hint=failure.hint, retry_after=failure.retry_after_s, failure=failure.kind
        )

    def exhausted(self, last: BackendError | None, retry_after: float | None) -> Error:
        """Nobody could answer: every candidate and why not."""
        reasons = [f"{a.backend}: {a.message}" for a in self.attempts] + self.passed_over
        reasons += [f"{s.backend}: {s.reason}" for s in self.decision.skipped]
        denials = [a.failure for a in self.attempts] + [s.failure for s in self.decision.skipped]
        code, kind = verdict([last.kind] if last else denials)
        if denials and not any(denials) and not self.passed_over:
            code = ErrorCode.BAD_REQUEST  # none of them ever can
        elif self._permanent(last):
            code, retry_after = ErrorCode.CONFIG, None
        message = f"no backend of {self.decision.endpoint} could answer: " + "; ".join(reasons)
        hint = last.hint if last and last.hint else _HINTS.get(code, "routerctl status shows every backend's state")
        return self.error(code, message, hint=hint, retry_after=retry_after, failure=kind)

    def _permanent(self, last: BackendError | None) -> bool:
        """Whether nobody can answer before somebody changes something: the last attempt's failure, and all else."""
        skipped = [each for each in self.decision.skipped if each.failure]
        if self.passed_over or not all(each.permanent for each in skipped):
            return False
        return last.permanent if last else bool(skipped)


def _code(failure: BackendError) -> ErrorCode:
    return ErrorCode.CONFIG if failure.permanent else RULES[failure.kind].code


def verdict(failures: Iterable[FailureKind | None]) -> tuple[ErrorCode, FailureKind | None]:
    """What the caller is told where nobody was asked for these reasons, and the one reason where it is the same for
    all. None is a backend that cannot answer such a request whatever its state: what the others have, counts."""
    kinds = {kind for kind in failures if kind}
    codes = {RULES[kind].code for kind in kinds}
    return (codes.pop() if len(codes) == 1 else ErrorCode.UNAVAILABLE), (kinds.pop() if len(kinds) == 1 else None)


def telling(last: BackendError | None, failure: BackendError) -> BackendError:
    """Which of two failures the caller is told of: the newer, but for one after which the request may succeed later."""
    if last and _code(last) in _RETRYABLE and _code(failure) not in _RETRYABLE:
        return last
    return failure


_HINTS = {
    ErrorCode.BAD_REQUEST: "add a backend that can take such a request; routerctl explain --tools (or --image) shows"
    " what each lacks",
    ErrorCode.CONTEXT_OVERFLOW: "shorten the prompt, or add a model with a larger context",
    ErrorCode.BUDGET: "routerctl budget shows what is spent, and of what",
}
_RETRYABLE = {
    ErrorCode.UNAVAILABLE,
    ErrorCode.INTERRUPTED,
    ErrorCode.DEADLINE,
    ErrorCode.OVERLOADED,
    ErrorCode.SHUTTING_DOWN,
}
