"""The state of one request on its way through its attempts: what came, what was released, how it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter

from msgspec import Struct

from routerd_client.chat import ChatRequest, FinishReason, Message, TokenLogprob, ToolCall
from routerd_client.protocol import Delta, Done, Error, ErrorCode, Event, Progress, Retracted, Routed
from routerd_client.records import Attempt, Candidate, Decision, Outcome

from ..backends.base import Backend, BackendError, End, Piece, Waiting
from ..health.failure import RULES

Emit = Callable[[Event], Awaitable[None]]


class Call(Struct, frozen=True):
    """One chat as it arrived: ``id`` is the client's, ``request_id`` ours, ``client`` the peer's name."""

    id: int
    request_id: str
    chat: ChatRequest
    restarts: bool = False
    client: str = ""


class Run:
    """One request's progress. Every event it emits carries the number of the attempt it belongs to.

    Not streamed, everything is kept until the end: a failure then costs the caller nothing but time.
    """

    def __init__(self, call: Call, chat: ChatRequest, decision: Decision, emit: Emit) -> None:
        self.call = call
        self.chat = chat
        self.decision = decision
        self.attempts: list[Attempt] = []
        self.passed_over: list[str] = []
        """Candidates that could not be tried after all, each with its reason."""
        self._emit = emit
        self._arrived = perf_counter()
        self._begin()

    def _begin(self) -> None:
        self._began = perf_counter()
        self._first: float | None = None
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tool_calls: list[ToolCall] = []
        self._logprobs: list[TokenLogprob] = []
        self._released = False

    @property
    def number(self) -> int:
        """The number of the attempt under way, from 1."""
        return len(self.attempts) + 1

    @property
    def final(self) -> bool:
        """Whether the caller holds something of this attempt that cannot be taken back."""
        return self._released and (bool(self._tool_calls) or not self.call.restarts)

    @property
    def ttft_s(self) -> float | None:
        """Of this attempt, from its own start."""
        return None if self._first is None else self._first - self._began

    async def start(self, backend: Backend, candidate: Candidate) -> None:
        """An attempt on ``backend`` begins."""
        self._begin()
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
            )
        )

    async def receive(self, event: Waiting | Piece) -> None:
        """Take what the backend sent; released at once where the request is streamed."""
        if isinstance(event, Waiting):
            await self._emit(
                Progress(
                    id=self.call.id,
                    attempt=self.number,
                    phase=event.phase,
                    fraction=event.fraction,
                    position=event.position,
                )
            )
            return
        if self._first is None:
            self._first = perf_counter()
        self._tool_calls += event.tool_calls
        if not self.chat.stream:
            self._text.append(event.text)
            self._reasoning.append(event.reasoning)
            self._logprobs += event.logprobs
        elif event.text or event.reasoning or event.tool_calls or event.logprobs:
            self._released = True
            await self._emit(
                Delta(
                    id=self.call.id,
                    attempt=self.number,
                    text=event.text,
                    reasoning=event.reasoning,
                    tool_calls=event.tool_calls,
                    logprobs=event.logprobs,
                )
            )

    def end_attempt(self, backend: str, failure: BackendError | None, *, cancelled: bool = False) -> None:
        """Record how the attempt under way ended."""
        outcome = Outcome.CANCELLED if cancelled else Outcome.FAILED if failure else Outcome.OK
        self.attempts.append(
            Attempt(
                number=self.number,
                backend=backend,
                outcome=outcome,
                failure=failure.kind if failure else None,
                message=failure.message if failure else "",
                ttft_s=self.ttft_s,
                total_s=perf_counter() - self._began,
            )
        )

    async def retract(self, failure: BackendError) -> None:
        """Take back what was released of the attempt that has just ended."""
        if self._released:
            self._released = False
            await self._emit(Retracted(id=self.call.id, attempt=self.number - 1, reason=failure.message))

    def done(self, backend: Backend, end: End) -> Done:
        """The terminal event of an answer that is whole; call it after `end_attempt`."""
        finish = end.finish_reason
        if self._tool_calls and finish is FinishReason.STOP:
            finish = FinishReason.TOOL_CALLS
        decoded = end.usage.completion_tokens - 1
        return Done(
            id=self.call.id,
            attempt=self.attempts[-1].number,
            request_id=self.call.request_id,
            backend=backend.name,
            model=backend.model,
            endpoint=self.decision.endpoint,
            route=self.decision.route,
            finish_reason=finish,
            usage=end.usage,
            message=None if self.chat.stream else self._message(),
            logprobs=self._logprobs,
            ttft_s=None if self._first is None else self._first - self._arrived,
            tokens_per_second=decoded / end.decode_s if end.decode_s and decoded > 0 else None,
            attempts=self.attempts,
        )

    def _message(self) -> Message:
        text = "".join(self._text)
        return Message(
            role="assistant",
            content=text if text or not self._tool_calls else None,
            tool_calls=self._tool_calls,
            reasoning="".join(self._reasoning) or None,
        )

    def error(self, code: ErrorCode, message: str, *, hint: str = "", retry_after: float | None = None) -> Error:
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
        )

    def failed(self, failure: BackendError) -> Error:
        """The request ends with this failure, though others might have been asked."""
        code = ErrorCode.INTERRUPTED if self._released else RULES[failure.kind].code
        return self.error(code, failure.message, hint=failure.hint, retry_after=failure.retry_after_s)

    def exhausted(self, last: BackendError | None, retry_after: float | None) -> Error:
        """Nobody could answer: every candidate and why not."""
        reasons = [f"{a.backend}: {a.message}" for a in self.attempts] + self.passed_over
        reasons += [f"{s.backend}: {s.reason}" for s in self.decision.skipped]
        code = RULES[last.kind].code if last else ErrorCode.UNAVAILABLE
        message = f"no backend of {self.decision.endpoint} could answer: " + "; ".join(reasons)
        hint = last.hint if last and last.hint else _HINTS.get(code, "routerctl status shows every backend's state")
        return self.error(code, message, hint=hint, retry_after=retry_after)


_HINTS = {ErrorCode.CONTEXT_OVERFLOW: "shorten the prompt, or add a model with a larger context"}
_RETRYABLE = {
    ErrorCode.UNAVAILABLE,
    ErrorCode.INTERRUPTED,
    ErrorCode.DEADLINE,
    ErrorCode.OVERLOADED,
    ErrorCode.SHUTTING_DOWN,
}
