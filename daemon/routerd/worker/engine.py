"""The loop that decodes: everything in flight one step at a time, all of it on the main thread."""

from __future__ import annotations

import threading
import time
from itertools import count
from queue import SimpleQueue
from typing import Any

from msgspec import Struct

from routerd_client.chat import ChatRequest, FinishReason
from routerd_client.records import FailureKind

from ..wire import Cancel, Count, Failed, Finished, FromWorker, Generate, Memory, Piece, Ping, Pong, Prefill
from . import lm, prompt
from .answer import Answer
from .batch import Batch, Limits
from .counting import Counting
from .flight import Flight
from .logprobs import token_logprob
from .pipe import Inbox, Outbox, Undecodable
from .sampling import Samplers
from .validate import RequestError, bad, check


class Prepared(Struct, frozen=True):
    """The prepare thread's answer: a prompt, or why there is none."""

    id: int
    chat: ChatRequest
    result: prompt.Prompt | RequestError


class Engine:
    """Answers the messages of an inbox until the process ends.

    New requests, cancels and pings are taken between two steps. Prompts are templated, tokenized and
    counted on a thread of their own, so that a long one does not hold up the answers of others.
    """

    def __init__(
        self, model: lm.Model, inbox: Inbox, outbox: Outbox, *, samplers: Samplers, max_tokens: int, limits: Limits
    ) -> None:
        self._model = model
        self._outbox = outbox
        self._inbox = inbox
        self._max_tokens = max_tokens
        self._batch = Batch(model, samplers, limits)
        self._order = count()
        self._preparing: set[int] = set()
        self._waiting: list[Flight] = []  # oldest first
        self._out: list[FromWorker] = []
        self._counting = Counting(model)
        self._to_prepare: SimpleQueue[Generate | Count] = SimpleQueue()

    def warm_up(self) -> None:
        """Generate a few tokens, and learn from them what admission needs. Raises what mlx raises."""
        self._batch.warm_up()

    def memory(self) -> Memory:
        return self._batch.memory()

    @property
    def alone(self) -> str:
        """Why it computes one answer at a time; known after `warm_up`, ``""`` where it computes several."""
        return self._batch.alone

    @property
    def longest(self) -> int:
        """Tokens that a prompt and its answer may have together; known after `warm_up`."""
        return min(self._model.context, self._batch.pool.longest)

    def run(self) -> None:
        """Serve for ever. Blocks without using the processor while there is nothing to do."""
        threading.Thread(target=self._prepare_all, name="prepare", daemon=True).start()
        while True:
            self._take_messages()
            self._board()
            if len(self._batch):
                self._step()
            if any(map(_worth_sending, self._out)):
                self._outbox.send_all(self._out)
                self._out.clear()

    def _take_messages(self) -> None:
        if not len(self._batch) and not self._waiting:
            self._handle(self._inbox.get())
        while not self._inbox.empty():
            self._handle(self._inbox.get())

    def _handle(self, message: Any) -> None:
        match message:
            case Generate(id=id_):
                self._preparing.add(id_)
                self._to_prepare.put(message)
            case Count():
                self._to_prepare.put(message)
            case Prepared():
                self._enqueue(message)
            case Cancel(id=id_):
                self._cancel(id_)
            case Ping(id=id_):
                self._out.append(self._pong(id_))
            case Undecodable(id=id_, reason=reason):
                self._fail(id_, FailureKind.BAD_REQUEST, f"the request has a form the worker does not know: {reason}")

    # Before decoding

    def _prepare_all(self) -> None:
        while True:
            request = self._to_prepare.get()
            if isinstance(request, Count):
                self._outbox.send(self._counting.answer(request))
                continue
            self._inbox.put(Prepared(request.id, request.chat, self._prepare(request)))

    def _prepare(self, request: Generate) -> prompt.Prompt | RequestError:
        if request.id not in self._preparing:
            return RequestError(FailureKind.CANCELLED, "cancelled")
        try:
            check(request.chat, self._model.vocab)
            return prompt.prepare(self._model, request.chat, self._max_tokens)
        except RequestError as exc:
            return exc
        except RecursionError:
            return bad(prompt.TOO_DEEP)
        except Exception as exc:  # the thread must outlive whatever one request does to the tokenizer
            return RequestError(FailureKind.SERVER_ERROR, f"the prompt could not be prepared: {exc!r}")

    def _enqueue(self, prepared: Prepared) -> None:
        if prepared.id not in self._preparing:
            return  # cancelled meanwhile
        self._preparing.discard(prepared.id)
        ready = prepared.result
        if isinstance(ready, RequestError):
            self._fail(prepared.id, ready.kind, str(ready))
        elif len(ready.ids) >= self._batch.pool.longest:
            self._fail(prepared.id, FailureKind.CONTEXT_OVERFLOW, self._too_long(ready))
        else:
            answer = Answer(self._model, ready, prepared.chat.stop)
            flight = Flight(prepared.id, next(self._order), prepared.chat, ready, answer, list(ready.ids))
            self._waiting.append(flight)

    def _too_long(self, ready: prompt.Prompt) -> str:
        pool = self._batch.pool
        return (
            f"the prompt has {len(ready.ids)} tokens; the KV pool of {pool.limit} bytes holds {pool.longest}, "
            f"of {pool.cost.per_token} bytes each, and the answer needs room in it too"
        )

    def _pong(self, id_: int) -> Pong:
        waiting = len(self._waiting)
        in_flight = len(self._batch) + waiting + len(self._preparing)
        return Pong(id=id_, memory=self.memory(), in_flight=in_flight, waiting=waiting)

    def _cancel(self, id_: int) -> None:
        for flight in self._batch:
            if flight.id == id_:
                self._batch.leave(flight)
                break
        else:
            waiting = [flight for flight in self._waiting if flight.id != id_]
            if id_ not in self._preparing and len(waiting) == len(self._waiting):
                return  # it has ended already
            self._waiting = waiting
            self._preparing.discard(id_)
        self._fail(id_, FailureKind.CANCELLED, "cancelled")

    def _board(self) -> None:
        """Park those the batch has no room for any more, and take in those of the waiting it has room for."""
        # The youngest comes first, and is to stand behind the others again.
        for flight in self._batch.make_room():
            self._waiting.insert(0, flight)
        for flight in self._batch.admit(self._waiting) if self._waiting else ():
            self._waiting.remove(flight)
            try:
                self._batch.join(flight)
            except Exception as exc:  # a request that cannot start leaves those that run alone
                self._fail(flight.id, FailureKind.SERVER_ERROR, f"the request could not be started: {exc!r}")
            else:
                if not flight.drawn:
                    flight.answer.cached_tokens = flight.cached

    # Decoding

    def _step(self) -> None:
        try:
            prefills, tokens = self._batch.step()
        except Exception as exc:  # nothing in this batch can be trusted any more
            for flight in self._batch.clear():
                self._fail(flight.id, FailureKind.SERVER_ERROR, f"decoding failed: {exc!r}")
            return
        for flight in prefills:
            self._out.append(Prefill(id=flight.id, done=flight.done, total=len(flight.tokens), cached=flight.cached))
        for flight, response in tokens:
            self._take_token(flight, response)

    def _take_token(self, flight: Flight, response: Any) -> None:
        try:
            self._emit(flight, response)
        except RequestError as exc:
            self._batch.leave(flight)
            self._fail(flight.id, exc.kind, str(exc))
        except Exception as exc:  # one answer's text must not end the others'
            self._batch.leave(flight)
            self._fail(flight.id, FailureKind.SERVER_ERROR, f"the answer could not be decoded: {exc!r}")
        else:
            if reason := flight.answer.finish_reason:
                self._batch.finish(flight, response)
                self._finish(flight, reason)

    def _emit(self, flight: Flight, response: Any) -> None:
        if flight.drawing and flight.drawing.failure:
            raise RequestError(FailureKind.SERVER_ERROR, f"sampling failed: {flight.drawing.failure!r}")
        if not flight.finite:
            raise RequestError(FailureKind.INVALID_LOGITS, _INVALID_LOGITS)
        flight.tokens.append(response.token)
        flight.started = flight.started or time.monotonic()
        output = flight.answer.feed(response.token, response.finish_reason)
        logprobs = []
        if flight.chat.logprobs and response.finish_reason != "stop":
            logprobs = [token_logprob(self._model, response, flight.chat.top_logprobs)]
        self._out.append(
            Piece(
                id=flight.id,
                text=output.text,
                reasoning=output.reasoning,
                tool_calls=output.tool_calls,
                logprobs=logprobs,
                flaw=output.flaw,
            )
        )

    def _finish(self, flight: Flight, reason: FinishReason) -> None:
        decode_s = time.monotonic() - flight.started
        self._out.append(Finished(id=flight.id, finish_reason=reason, usage=flight.answer.usage, decode_s=decode_s))

    def _fail(self, id_: int, kind: FailureKind, message: str) -> None:
        self._out.append(Failed(id=id_, kind=kind, message=message))


_INVALID_LOGITS = (
    "the model computed values that are not finite numbers (NaN or infinity): its weights are damaged, or too large "
    "for their number format; download it again, or use another conversion of it"
)


def _worth_sending(message: FromWorker) -> bool:
    """Whether to wake the daemon for it alone: the end of a prompt is one step away from its first token, or from
    a failure, and goes out with that."""
    return not (isinstance(message, Prefill) and message.done == message.total)
