"""No request can harm the worker, nor the requests next to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import pytest
from msgspec.structs import replace

from routerd.wire import Cancel, Failed, FromWorker, Generate, Piece, Prefill, decode, encode, encoder
from routerd.worker.lm import Model
from routerd.worker.prompt import text
from routerd.worker.sampling import Drawing, Guard, Samplers, guard_processor, guard_sampler
from routerd_client.chat import (
    ChatRequest,
    Function,
    FunctionSpec,
    ImagePart,
    ImageURL,
    Message,
    Sampling,
    Tool,
    ToolCall,
)
from routerd_client.framing import pack
from routerd_client.records import FailureKind
from tests.mlx.in_process import run_engine
from tests.support.worker_client import Answered, WorkerClient, ask


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"items": value}
    return value


def ask_with_call(arguments: str) -> ChatRequest:
    """A history with a call of a tool."""
    call = ToolCall("1", Function("look", arguments))
    asked = [Message("user", "look"), Message("assistant", None, tool_calls=[call]), Message("tool", "a fox")]
    return ChatRequest(messages=asked, max_tokens=4)


POISON = {
    "no messages": ChatRequest(messages=[]),
    "empty stop": ask(stop=[""]),
    "long stop": ask(stop=["x" * 1025]),
    "many stops": ask(stop=["x"] * 17),
    "top_k": ask(temperature=1.0, sampling={"top_k": 10**9}),
    "negative top_k": ask(sampling={"top_k": -1}),
    "top_p": ask(sampling={"top_p": 1.5}),
    "min_p": ask(sampling={"min_p": -0.1}),
    "nan temperature": ask(temperature=math.nan),
    "infinite temperature": ask(temperature=math.inf),
    "negative temperature": ask(temperature=-1.0),
    "bias of no token": ask(sampling={"logit_bias": {10**9: 1.0}}),
    "bias of a negative token": ask(sampling={"logit_bias": {-1: 1.0}}),
    "infinite bias": ask(sampling={"logit_bias": {1: math.inf}}),
    "zero repetition penalty": ask(sampling={"repetition_penalty": 0.0}),
    "nan penalty": ask(sampling={"presence_penalty": math.nan}),
    "xtc threshold": ask(sampling={"xtc_threshold": 0.9}),
    "negative seed": ask(sampling={"seed": -1}),
    "seed with xtc": ask(sampling={"seed": 1, "xtc_probability": 0.5}),
    "no tokens": ask(max_tokens=0),
    "many logprobs": ask(logprobs=True, top_logprobs=21),
    "an image": ChatRequest(messages=[Message("user", [ImagePart(ImageURL("data:,"))])]),
    "a template argument": ask(template_args={"messages": 5}),
    "a template that raises": ask(template_args={"refuse": True}),
    "another template": ask(template_args={"chat_template": "{{ 1 / 0 }}"}),
    "deep arguments": ask_with_call("[" * 100_000 + "]" * 100_000),
}


@pytest.mark.parametrize("chat", POISON.values(), ids=POISON.keys())
def test_a_bad_request_fails_alone(worker: WorkerClient, chat: ChatRequest) -> None:
    mate, poison = worker.start_all([ask(max_tokens=8), chat])

    assert worker.result(poison).failed.kind is FailureKind.BAD_REQUEST
    assert worker.result(poison).failed.message
    assert worker.result(mate).finished


def test_a_deep_template_argument_harms_nobody(worker: WorkerClient) -> None:
    """Python 3.11 can read no 700 levels, newer ones can; the daemon lets nobody send that many."""
    mate, deep = worker.start_all([ask(max_tokens=8), ask(max_tokens=8, template_args={"deep": nested(700)})])

    end = worker.result(deep).end
    assert not isinstance(end, Failed) or end.kind is FailureKind.BAD_REQUEST
    assert worker.result(mate).finished


HARMLESS = {
    "half a character": ask_with_call('{"at": "\\ud83d"}'),
    "no number": ask_with_call('{"at": NaN}'),
    "a long number": ask_with_call('{"at": ' + "9" * 500 + "}"),
    "broken": ask_with_call('{"at": '),
    "nul": ask("a\0b\0"),
    "a number over 64 bits": ask(template_args={"n": 2**128 - 1}),
    "many keys": ask(template_args={f"k{n}": n for n in range(100_000)}),
}


@pytest.mark.parametrize("chat", HARMLESS.values(), ids=HARMLESS.keys())
def test_odd_values_are_answered(worker: WorkerClient, chat: ChatRequest) -> None:
    assert worker.chat(replace(chat, max_tokens=2)).finished


def test_a_frame_nested_without_end_is_passed_over(worker: WorkerClient) -> None:
    worker.sock.sendall(pack(b"\x82\xa4type\xa8generate\xa4chat" + b"\x91" * 100_000 + b"\xc0"))

    assert worker.chat(ask()).finished


def test_a_schema_reaches_the_template_exactly(able: Model) -> None:
    tool = Tool(FunctionSpec("reserve", parameters={"maximum": 2**128 - 1, "minimum": -(10**30)}))
    sent = Generate(id=1, chat=ChatRequest(messages=[Message("user", "hi")], tools=[tool]))
    got = decode(encode(sent))

    assert isinstance(got, Generate)
    assert '"maximum": 340282366920938463463374607431768211455' in text(able, got.chat)
    assert '"minimum": -1000000000000000000000000000000' in text(able, got.chat)


def test_a_prompt_over_the_context_is_refused_with_its_size(worker: WorkerClient) -> None:
    failed = worker.chat(ask("a b c d " * 1000)).failed

    assert failed.kind is FailureKind.CONTEXT_OVERFLOW
    assert "2048" in failed.message


def test_a_giant_prompt_is_refused_before_it_is_tokenized(worker: WorkerClient) -> None:
    assert worker.chat(ask("x" * 20_000_000)).failed.kind is FailureKind.CONTEXT_OVERFLOW


def test_an_unknown_role_is_a_bad_request(worker: WorkerClient) -> None:
    frame = wire_frame(Generate(id=9001, chat=ask())).replace(b"\xa4user", b"\xa4uber")
    worker.answers[9001] = Answered()
    worker.sock.sendall(frame)

    assert worker.result(9001).failed.kind is FailureKind.BAD_REQUEST


def test_a_frame_of_nonsense_is_passed_over(worker: WorkerClient) -> None:
    worker.sock.sendall(pack(b"\xc1 nonsense"))

    assert worker.chat(ask()).finished


def test_cancel_of_an_ended_request_is_nothing(worker: WorkerClient) -> None:
    id_ = worker.start(ask())
    worker.result(id_)
    worker.cancel(id_)
    worker.ping()

    assert worker.answers[id_].finished


class BrokenError(Exception):
    """Raised by the samplers that these tests break."""


class BreakingSamplers(Samplers):
    """Temperature 0.77 gets a sampler that breaks at its third token, 0.78 such a processor."""

    def drawing(self, sampling: Sampling, drawn: int = 0) -> Drawing:
        whole = super().drawing(Sampling(temperature=0.0), drawn)
        if sampling.temperature == 0.77:
            return Drawing(guard_sampler(breaking(lambda logprobs: mx.argmax(logprobs, axis=-1))), [])
        if sampling.temperature == 0.78:
            return Drawing(whole.sampler, [guard_processor(breaking(lambda _tokens, logits: logits))])
        return whole


def breaking(call: Callable[..., Any]) -> Callable[..., Any]:
    calls = 0

    def broken(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise BrokenError
        return call(*arguments)

    return broken


@pytest.mark.parametrize("temperature", [0.77, 0.78])
def test_a_sampler_that_raises_in_a_step_fails_its_own_request_alone(tiny: Model, temperature: float) -> None:
    chats = [ask("one"), ask("two", temperature=temperature), ask("three")]
    healthy = run_engine(tiny, [Generate(id=n, chat=ask(c.messages[0].text)) for n, c in enumerate(chats)])
    broken = run_engine(tiny, [Generate(id=n, chat=c) for n, c in enumerate(chats)], samplers=BreakingSamplers())

    failed = broken.of(1)[-1]
    assert isinstance(failed, Failed)
    assert failed.kind is FailureKind.SERVER_ERROR
    assert "BrokenError" in failed.message
    assert [broken.text(n) for n in (0, 2)] == [healthy.text(n) for n in (0, 2)]


class FaultyModel:
    """A network that breaks when it sees a batch of three; ``layers`` and the rest are the real one's."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def __call__(self, inputs: Any, cache: Any) -> Any:
        if inputs.shape[0] > 2:
            raise BrokenError
        return self._network(inputs, cache=cache)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


def test_a_step_that_breaks_fails_those_in_it_and_nobody_after(tiny: Model) -> None:
    faulty = Model(FaultyModel(tiny.model), tiny.tokenizer, tiny.context, {})
    together = [Generate(id=n, chat=ask()) for n in range(3)]
    collector = run_engine(faulty, together)

    assert [m.kind for n in range(3) for m in collector.of(n) if isinstance(m, Failed)] == [
        FailureKind.SERVER_ERROR
    ] * 3


def test_cancel_ends_a_request_before_its_next_step(tiny: Model) -> None:
    def after_three(message: FromWorker) -> Cancel | None:
        nonlocal pieces
        pieces += isinstance(message, Piece)
        return Cancel(id=1) if pieces == 3 else None

    pieces = 0
    collector = run_engine(tiny, [Generate(id=1, chat=ask(max_tokens=1000))], answer=after_three)

    failed = collector.of(1)[-1]
    assert isinstance(failed, Failed)
    assert failed.kind is FailureKind.CANCELLED
    assert pieces == 3


def test_cancel_in_the_midst_of_a_prefill_leaves_mates_exact(tiny: Model) -> None:
    def in_prefill(message: FromWorker) -> Cancel | None:
        halfway = isinstance(message, Prefill) and message.id == 1 and 0 < message.done < message.total
        return Cancel(id=1) if halfway else None

    mate, long = Generate(id=0, chat=ask("mate")), Generate(id=1, chat=ask("a b " * 450))
    alone = run_engine(tiny, [mate])
    together = run_engine(tiny, [mate, long], answer=in_prefill)

    failed = together.of(1)[-1]
    assert isinstance(failed, Failed)
    assert failed.kind is FailureKind.CANCELLED
    assert together.text(1) == ""
    assert together.text(0) == alone.text(0)


def test_a_newcomers_prompt_and_a_running_answer_take_turns(tiny: Model) -> None:
    def when_running(message: FromWorker) -> Generate | Cancel | None:
        nonlocal asked
        if isinstance(message, Piece) and message.id == 1:
            return Cancel(id=0)
        if isinstance(message, Piece) and not asked:
            asked = True
            return Generate(id=1, chat=ask("a b " * 450, max_tokens=2))
        return None

    asked = False
    running = Generate(id=0, chat=ask(max_tokens=1000))
    collector = run_engine(tiny, [running], answer=when_running, count=2)
    after = collector.messages[collector.messages.index(collector.of(1)[0]) :]
    turns = [m.id for m in after if isinstance(m, Piece if m.id == 0 else Prefill)]

    assert turns.count(1) > 2
    assert turns[: 2 * turns.count(1) - 1] == [1, 0] * (turns.count(1) - 1) + [1]


def test_a_cancel_overtakes_the_preparation(tiny: Model) -> None:
    collector = run_engine(tiny, [Generate(id=1, chat=ask("x " * 900)), Cancel(id=1)])

    (failed,) = collector.of(1)
    assert isinstance(failed, Failed)
    assert failed.kind is FailureKind.CANCELLED


def test_requests_with_equal_sampling_share_a_sampler() -> None:
    samplers = Samplers()
    warm, same, seeded = (samplers.drawing(Sampling(temperature=0.5, seed=seed)) for seed in (None, None, 1))
    greedy = [samplers.drawing(Sampling(temperature=0.0, top_p=p)) for p in (0.1, 0.2)]

    assert warm.sampler is same.sampler
    assert seeded.sampler is not warm.sampler
    assert greedy[0].sampler is greedy[1].sampler


def test_the_models_own_defaults_fill_gaps_only() -> None:
    samplers = Samplers({"temperature": 0.6, "top_k": 20})

    assert samplers.drawing(Sampling()).sampler is samplers.drawing(Sampling(temperature=0.6, top_k=20)).sampler


def test_a_guard_keeps_the_first_failure() -> None:
    guard = Guard(breaking(lambda x: x + 1), lambda x: x)

    assert [guard(n) for n in (1, 1, 1, 1)] == [2, 2, 1, 1]
    assert isinstance(guard.failure, BrokenError)


def wire_frame(message: Generate) -> bytes:
    return pack(encoder.encode(message))
