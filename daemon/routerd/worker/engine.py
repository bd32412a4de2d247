"""The loop that decodes: everything in flight one step at a time, all of it on the main thread."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import Any

from msgspec import Struct

from routerd_client.chat import ChatRequest, FinishReason
from routerd_client.records import FailureKind

from ..wire import Cancel, Failed, Finished, FromWorker, Generate, Memory, Piece, Ping, Pong, Prefill
from . import lm, prompt
from .answer import Answer
from .chunks import SMALLEST, ChunkSizer
from .logprobs import token_logprob
from .pipe import Inbox, Outbox, Undecodable
from .sampling import Drawing, Samplers
from .validate import RequestError, check


class Prepared(Struct, frozen=True):
    """The prepare thread's answer: a prompt, or why there is none."""

    id: int
    chat: ChatRequest
    result: prompt.Prompt | RequestError


class Flight(Struct):
    """A request being decoded; ``started`` is the monotonic time of its first token."""

    id: int
    chat: ChatRequest
    answer: Answer
    drawing: Drawing
    started: float = 0.0


class Engine:
    """Answers the messages of an inbox until the process ends.

    New requests, cancels and pings are taken between two steps. Prompts are templated and tokenized
    on a thread of their own, so that a long one does not hold up the answers of others.
    """

    def __init__(
        self, model: lm.Model, inbox: Inbox, outbox: Outbox, *, samplers: Samplers, max_tokens: int, concurrency: int
    ) -> None:
        self._model = model
        self._outbox = outbox
        self._inbox = inbox
        self._samplers = samplers
        self._max_tokens = max_tokens
        self._concurrency = concurrency
        self._generator = model.generator(concurrency)
        self._chunks = ChunkSizer()
        self._preparing: set[int] = set()
        self._flights: dict[int, Flight] = {}
        self._out: list[FromWorker] = []
        self._to_prepare: SimpleQueue[Generate] = SimpleQueue()

    def warm_up(self) -> None:
        """Generate one token; learn the vocabulary's size and the prefill's speed from it. Raises what mlx raises."""
        self._generator.insert([[0] * (SMALLEST + 1)], max_tokens=[1])
        while True:
            _, tokens = self._next()
            if tokens:
                self._model.vocab = tokens[0].logprobs.shape[-1]
                return

    def memory(self) -> Memory:
        return lm.memory(self._generator)

    def run(self) -> None:
        """Serve for ever. Blocks without using the processor while there is nothing to do."""
        threading.Thread(target=self._prepare_all, name="prepare", daemon=True).start()
        while True:
            self._take_messages()
            if self._flights:
                self._step()
            if self._out:
                self._outbox.send_all(self._out)
                self._out.clear()

    def _take_messages(self) -> None:
        if not self._flights:
            self._handle(self._inbox.get())
        while not self._inbox.empty():
            self._handle(self._inbox.get())

    def _handle(self, message: Any) -> None:
        match message:
            case Generate(id=id_):
                self._preparing.add(id_)
                self._to_prepare.put(message)
            case Prepared():
                self._admit(message)
            case Cancel(id=id_):
                self._cancel(id_)
            case Ping(id=id_):
                in_flight = len(self._flights) + len(self._preparing)
                self._out.append(Pong(id=id_, memory=self.memory(), in_flight=in_flight))
            case Undecodable(id=id_, reason=reason):
                self._fail(id_, FailureKind.BAD_REQUEST, f"the request has a form the worker does not know: {reason}")

    # Before decoding

    def _prepare_all(self) -> None:
        while True:
            request = self._to_prepare.get()
            self._inbox.put(Prepared(request.id, request.chat, self._prepare(request)))

    def _prepare(self, request: Generate) -> prompt.Prompt | RequestError:
        if request.id not in self._preparing:
            return RequestError(FailureKind.CANCELLED, "cancelled")
        try:
            check(request.chat, self._model.vocab)
            return prompt.prepare(self._model, request.chat, self._max_tokens)
        except RequestError as exc:
            return exc
        except Exception as exc:  # the thread must outlive whatever one request does to the tokenizer
            return RequestError(FailureKind.SERVER_ERROR, f"the prompt could not be prepared: {exc!r}")

    def _admit(self, prepared: Prepared) -> None:
        if prepared.id not in self._preparing:
            return  # cancelled meanwhile
        self._preparing.discard(prepared.id)
        if isinstance(prepared.result, RequestError):
            self._fail(prepared.id, prepared.result.kind, str(prepared.result))
            return
        try:
            self._insert(prepared.id, prepared.chat, prepared.result)
        except Exception as exc:  # a request that cannot start leaves those that run alone
            self._fail(prepared.id, FailureKind.SERVER_ERROR, f"the request could not be started: {exc!r}")

    def _insert(self, id_: int, chat: ChatRequest, ready: prompt.Prompt) -> None:
        drawing = self._samplers.drawing(chat.sampling)
        answer = Answer(self._model, ready, chat.stop)
        (uid,) = self._generator.insert(
            [ready.ids],
            max_tokens=[ready.max_tokens],
            samplers=[drawing.sampler],
            logits_processors=[drawing.processors],
        )
        self._flights[uid] = Flight(id_, chat, answer, drawing)

    def _cancel(self, id_: int) -> None:
        uid = next((uid for uid, flight in self._flights.items() if flight.id == id_), None)
        if uid is not None:
            self._land(uid)
        elif id_ not in self._preparing:
            return  # it has ended already
        self._preparing.discard(id_)
        self._fail(id_, FailureKind.CANCELLED, "cancelled")

    # Decoding

    def _step(self) -> None:
        try:
            prefills, tokens = self._next()
        except Exception as exc:  # nothing in this batch can be trusted any more
            self._start_over(exc)
            return
        for response in prefills:
            done, total = response.progress
            self._out.append(Prefill(id=self._flights[response.uid].id, done=done, total=total))
        for response in tokens:
            self._take_token(response)

    def _next(self) -> tuple[list[Any], list[Any]]:
        self._generator.prefill_step_size = self._chunks.size
        with self._generator.stats() as stats:
            prefills, tokens = self._generator.next()
        self._chunks.measured(stats.prompt_tokens, stats.prompt_time, len(prefills))
        return prefills, tokens

    def _take_token(self, response: Any) -> None:
        flight = self._flights[response.uid]
        try:
            self._emit(flight, response)
        except RequestError as exc:
            self._land(response.uid)
            self._fail(flight.id, exc.kind, str(exc))
        except Exception as exc:  # one answer's text must not end the others'
            self._land(response.uid)
            self._fail(flight.id, FailureKind.SERVER_ERROR, f"the answer could not be decoded: {exc!r}")
        else:
            if reason := flight.answer.finish_reason:
                self._land(response.uid)
                self._finish(flight, reason)

    def _emit(self, flight: Flight, response: Any) -> None:
        if flight.drawing.failure:
            raise RequestError(FailureKind.SERVER_ERROR, f"sampling failed: {flight.drawing.failure!r}")
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
            )
        )

    def _finish(self, flight: Flight, reason: FinishReason) -> None:
        decode_s = time.monotonic() - flight.started
        self._out.append(Finished(id=flight.id, finish_reason=reason, usage=flight.answer.usage, decode_s=decode_s))

    def _land(self, uid: int) -> None:
        """Forget a flight. The generator has forgotten those it ended itself, and knows that."""
        self._generator.remove([uid])
        del self._flights[uid]

    def _fail(self, id_: int, kind: FailureKind, message: str) -> None:
        self._out.append(Failed(id=id_, kind=kind, message=message))

    def _start_over(self, exc: Exception) -> None:
        flights, self._flights = self._flights, {}
        for flight in flights.values():
            self._fail(flight.id, FailureKind.SERVER_ERROR, f"decoding failed: {exc!r}")
        self._generator = self._model.generator(self._concurrency)
