"""A model process that the daemon owns."""

from __future__ import annotations

from msgspec.structs import replace

from routerd_client.chat import ChatRequest, Priority
from routerd_client.records import FailureKind, Residency

from .. import wire
from ..config.schema import MlxSpec
from ..routing.admit import NO_TOOLS
from ..routing.features import offers_tools
from ..routing.terms import Terms
from ..routing.view import Limits
from ..supervisor.child import Worker
from ..supervisor.errors import Failure, ProcessFailedError
from ..supervisor.stream import Stream
from ..supervisor.supervisor import Supervisor
from .base import BackendError, Emit, End, Piece, Waiting
from .dropped import by_owned, by_template
from .usage import believable


class MlxBackend:
    """See `Backend`."""

    kind = "mlx"

    def __init__(self, name: str, spec: MlxSpec, supervisor: Supervisor) -> None:
        self.name = name
        self.model = spec.model
        self.identity = f"{name}|mlx|{spec.model}"
        self._max_tokens = spec.max_tokens
        self._context = spec.context
        self._prefill = not spec.hosts
        self._supervisor = supervisor

    def __repr__(self) -> str:
        return f"<MlxBackend {self.name} {self.model}>"

    def note(self) -> str:
        status = self._supervisor.status(self.name)
        if status is None or status.residency in (Residency.STOPPED, Residency.BACKOFF, Residency.FAILED):
            return "not loaded"
        return "loaded" if status.residency is Residency.READY else status.residency.value

    def refusal(self) -> BackendError | None:
        refusal = self._supervisor.refusal(self.name)
        return _failed(refusal) if refusal else None

    def limits(self) -> Limits:
        context = self._supervisor.context(self.name) or self._context
        return Limits(context=context, tools=self._supervisor.tools(self.name), vision=False, prefill=self._prefill)

    def dropped(self, chat: ChatRequest, read: frozenset[str]) -> list[str]:
        names = by_owned(chat, read, grouped=not self._prefill)
        words = self._supervisor.template_words(self.name)
        return names if words is None else sorted({*names, *by_template(chat, words)})

    def busy(self) -> float:
        return self._supervisor.busy(self.name)

    def wait(self) -> float:
        return self._supervisor.wait(self.name)

    async def count(self, chat: ChatRequest) -> int | None:
        return await self._supervisor.count(self.name, chat)

    async def answer(self, chat: ChatRequest, emit: Emit, terms: Terms) -> End:
        if chat.max_tokens is None:
            chat = replace(chat, max_tokens=self._max_tokens)

        async def on_progress(phase: str, fraction: float | None, position: int | None) -> None:
            await emit(Waiting(phase, fraction, position))

        try:
            async with self._supervisor.lease(
                self.name,
                on_progress,
                priority=chat.priority or Priority.NORMAL,
                patient=chat.when_full in (None, "wait"),
                alone=terms.alone,
            ) as worker:
                _check_tools(worker, chat)
                with worker.generate(chat) as stream:
                    return await _relay(stream, emit)
        except ProcessFailedError as error:
            raise _failed(error.failure) from error


def _check_tools(worker: Worker, chat: ChatRequest) -> None:
    """Raise `ProcessFailedError` where only the loaded model shows that it cannot call tools."""
    if worker.ready and not worker.ready.tools and offers_tools(chat):
        hint = "its calls have no form that mlx-lm reads: ask a model that has, or leave the tools out"
        raise ProcessFailedError(FailureKind.UNSUPPORTED, NO_TOOLS, hint=hint)


def _failed(failure: Failure) -> BackendError:
    # Whoever comes in the meantime is told so by the supervisor, at once.
    error = BackendError(
        failure.kind,
        failure.message,
        hint=failure.hint,
        retry_after_s=failure.retry_after_s,
        cools=False,
        permanent=failure.permanent,
    )
    error.died = failure.died
    return error


async def _relay(stream: Stream, emit: Emit) -> End:
    async for item in stream:
        match item:
            case wire.Prefill():
                fraction = item.done / item.total if item.total else None
                await emit(Waiting("prefill", fraction, prompt_tokens=item.total or None, cached_tokens=item.cached))
            case wire.Piece():
                await emit(Piece(item.text, item.reasoning, item.tool_calls, item.logprobs, item.flaw))
            case wire.Finished():
                return End(item.finish_reason, believable(item.usage), item.decode_s)
    raise BackendError(FailureKind.CUT, "the model process ended the answer without saying so")
