"""A worker whose KV caches may take so many bytes: they never take more, and every answer comes whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from routerd.wire import Cancel, FromWorker, Generate, Piece, Ping, Pong, Prefill
from routerd.worker.batch import Limits
from routerd.worker.lm import Model
from routerd.worker.pool import STEP
from routerd_client.chat import ChatRequest
from routerd_client.records import FailureKind
from tests.mlx.in_process import run_engine
from tests.support.worker_client import WorkerClient, ask

TOKEN = 512
"""Bytes of a token's KV in the tiny model: 2 layers, 2 heads of 16, keys and values, 4 bytes each."""
LENGTHS = [10, 700, 40, 300, 5, 900, 120, 60]


def chats() -> list[ChatRequest]:
    return [ask("ab" * length, max_tokens=60) for length in LENGTHS]


def steps(count: int) -> int:
    return count * STEP * TOKEN


@pytest.fixture(scope="module")
def alone(tiny: Model) -> list[str]:
    """The answers to `chats`, each by itself."""
    return [run_engine(tiny, [Generate(id=0, chat=chat)]).text(0) for chat in chats()]


@pytest.mark.parametrize("prompt_cache", [0, 64 * 1024 * 1024])
def test_the_pool_is_never_passed(alone: list[str], tiny_folder: Path, prompt_cache: int) -> None:
    limit = steps(12)
    with WorkerClient(tiny_folder, "--kv-pool", str(limit), "--prompt-cache", str(prompt_cache)) as worker:
        worker.ready()
        ids = worker.start_all(chats())
        while any(worker.answers[id_].end is None for id_ in ids):
            worker.ping()
        answers = [worker.result(id_) for id_ in ids]

    assert [answer.text for answer in answers] == alone
    assert {pong.memory.pool for pong in worker.pongs} == {limit}
    assert max(pong.memory.kv for pong in worker.pongs) <= limit
    assert max(pong.waiting for pong in worker.pongs) > 0, "the pool was too small for all at once"


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0, "sampling": {"seed": 5, "repetition_penalty": 1.2}}])
def test_a_parked_answer_goes_on_where_it_was(tiny: Model, settings: dict[str, object]) -> None:
    # Both fit with a step each; together they outgrow the pool, so the younger leaves and comes back.
    both = [Generate(id=n, chat=ask("ab" * 90, max_tokens=300, logprobs=True, **settings)) for n in range(2)]
    roomy = run_engine(tiny, both)
    tight = run_engine(tiny, both, limits=Limits(kv_pool=steps(5)))

    resumed = [m for m in tight.of(1) if isinstance(m, Piece | Prefill)]
    first_piece = next(n for n, m in enumerate(resumed) if isinstance(m, Piece))
    assert any(isinstance(m, Prefill) for m in resumed[first_piece:]), "it was parked"
    assert [tight.text(n) for n in range(2)] == [roomy.text(n) for n in range(2)]
    for n in range(2):
        usage = tight.finished(n).usage
        assert usage == roomy.finished(n).usage
        assert sum(m.tokens for m in tight.of(n) if isinstance(m, Piece)) == usage.completion_tokens


def test_a_parked_request_can_be_cancelled(tiny: Model) -> None:
    def when_parked(message: FromWorker) -> Cancel | Ping | None:
        if isinstance(message, Pong):
            return Cancel(id=1) if message.waiting and pieces else None
        if isinstance(message, Piece) and message.id == 1:
            pieces.append(message)
        return Ping(id=99) if isinstance(message, Piece) and message.id == 0 else None

    pieces: list[Piece] = []
    both = [Generate(id=n, chat=ask("ab" * 90, max_tokens=300)) for n in range(2)]
    collector = run_engine(tiny, both, limits=Limits(kv_pool=steps(5)), answer=when_parked)

    assert collector.failed(1).kind is FailureKind.CANCELLED
    assert 0 < len(pieces) < 300
    assert collector.finished(0).usage.completion_tokens == 300


def test_younger_requests_do_not_overtake_one_that_waits(tiny: Model) -> None:
    order = [ask("ab" * 100), ask("ab" * 800), ask("a")]
    collector = run_engine(
        tiny, [Generate(id=n, chat=chat) for n, chat in enumerate(order)], limits=Limits(kv_pool=steps(8))
    )
    started = dict.fromkeys(m.id for m in collector.messages if isinstance(m, Prefill))

    assert list(started) == [0, 1, 2]


def test_a_prompt_that_can_never_fit_fails_with_the_numbers(tiny: Model) -> None:
    chat = ask("ab" * 800)
    failed = run_engine(tiny, [Generate(id=0, chat=chat)], limits=Limits(kv_pool=steps(3))).failed(0)

    assert failed.kind is FailureKind.CONTEXT_OVERFLOW
    assert str(steps(3)) in failed.message
    assert str(2 * STEP) in failed.message
    assert str(TOKEN) in failed.message


def test_an_answer_ends_where_the_pool_does(tiny: Model) -> None:
    usage = (
        run_engine(tiny, [Generate(id=0, chat=ask(max_tokens=1500))], limits=Limits(kv_pool=steps(3))).finished(0).usage
    )

    assert usage.total_tokens == 2 * STEP


def test_the_prompt_cache_makes_way_for_answers(tiny: Model) -> None:
    def then_the_next(message: FromWorker) -> Generate | Ping | None:
        ended = not isinstance(message, Piece | Prefill | Pong)
        if ended and message.id < 5:
            return Generate(id=message.id + 1, chat=ask(f"{message.id} " + "ab" * 300, max_tokens=4))
        return None if isinstance(message, Pong) else Ping(id=99)

    limits = Limits(kv_pool=steps(6), prompt_cache=steps(100))
    collector = run_engine(
        tiny, [Generate(id=0, chat=ask("ab" * 300, max_tokens=4))], limits=limits, answer=then_the_next, count=6
    )
    memories = [m.memory for m in collector.messages if isinstance(m, Pong)]

    assert max(memory.kv for memory in memories) <= steps(6)
    assert any(memory.prompt_cache for memory in memories)
