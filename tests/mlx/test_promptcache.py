"""What is kept of computed prompts, and that answers with it are those without it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from routerd.wire import Cancel, Failed, FromWorker, Generate, Piece, Prefill
from routerd.worker.batch import Limits
from routerd.worker.lm import Model
from routerd.worker.promptcache import BLOCK, MOST_ENTRIES, PromptCache, common_prefix
from routerd_client.chat import ChatRequest, Message, Sampling
from routerd_client.records import FailureKind
from tests.mlx.in_process import Collector, run_engine
from tests.support.worker_client import WorkerClient

MB = 1024 * 1024
CACHED = Limits(prompt_cache=16 * MB)
RULES = "be brief and route each request to the place that can answer it. " * 4


class Sized:
    """Caches that are lists of tokens; a token is a byte. Tuples cannot be trimmed."""

    def size(self, cache: Any) -> int:
        return len(cache)

    def can_trim(self, cache: Any) -> bool:
        return isinstance(cache, list)

    def copy(self, cache: Any, trim: int) -> Any:
        return cache[: len(cache) - trim]


def filled(*entries: Iterable[int], limit: int = 1000) -> PromptCache:
    cache = PromptCache(limit, Sized())
    for entry in entries:
        cache.keep(list(entry), entry, room=limit)
    return cache


def test_the_longest_known_beginning_is_taken() -> None:
    cache = filled([1, 2], [5, 6, 7, 8], [1, 2, 3])

    assert cache.take([1, 2, 3, 4]) == ([1, 2, 3], 3)
    assert cache.take([5, 6, 9, 9]) == ([5, 6], 2)
    assert cache.take([9, 9]) == (None, 0)


def test_a_beginning_that_is_hardly_one_is_not_taken() -> None:
    cache = PromptCache(1000, Sized(), shortest=2)
    cache.keep([1, 2, 3], [1, 2, 3], room=1000)

    assert cache.take([1, 9, 9]) == (None, 0)
    assert cache.take([1, 2, 9]) == ([1, 2], 2)


def test_the_last_token_is_always_left_to_compute() -> None:
    assert filled([1, 2, 3]).take([1, 2, 3]) == ([1, 2], 2)
    assert filled((1, 2, 3)).take([1, 2, 3]) == (None, 0)


def test_what_cannot_be_trimmed_is_used_whole_or_not_at_all() -> None:
    cache = filled((1, 2), (1, 2, 3, 4, 5))

    assert cache.take([1, 2, 3, 4, 9]) == ((1, 2), 2)
    assert cache.take([1, 2, 3, 4, 5, 9]) == ((1, 2, 3, 4, 5), 5)


def test_a_continuation_takes_the_place_of_what_it_continues() -> None:
    cache = filled([1, 2], [1, 2, 3], [1, 2, 3])
    assert cache.size == 3
    cache.keep([9], [9], room=1000, lasting=True)
    cache.keep([9, 8], [9, 8], room=1000)

    assert cache.size == 6


def test_what_was_not_used_for_longest_goes_first() -> None:
    cache = filled([1] * 4, [2] * 4, limit=8)
    cache.take([1, 1, 3])
    cache.keep([3] * 4, [3] * 4, room=1000)

    assert [cache.covered([n] * 4) for n in (1, 2, 3)] == [4, 0, 4]


def test_bytes_and_entries_are_bounded() -> None:
    cache = filled(*([n, n] for n in range(MOST_ENTRIES + 1)))
    assert cache.size == 2 * MOST_ENTRIES
    cache.shrink(3)
    assert cache.size == 2
    cache.keep([7] * 9, [7] * 9, room=8)
    assert cache.size == 2, "what does not fit drives nothing out"


def test_without_bytes_nothing_is_kept() -> None:
    cache = filled([1, 2], limit=0)

    assert not cache.enabled
    assert cache.take([1, 2, 3]) == (None, 0)


@pytest.mark.parametrize("length", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_the_common_prefix_is_exact(length: int) -> None:
    same = list(range(length))

    assert common_prefix(same, same) == length
    assert common_prefix([*same, 1, 5], [*same, 2, 5]) == length
    assert common_prefix([*same, 1], same) == length


def talk(*texts: str, system: str = RULES) -> ChatRequest:
    """A conversation of turns taken in alternation, the last one the user's."""
    roles = ["user", "assistant"] * len(texts)
    messages = [Message("system", system), *(Message(role, text) for role, text in zip(roles, texts, strict=False))]
    return ChatRequest(messages=messages, sampling=Sampling(temperature=0.0), max_tokens=24)


def in_turn(model: Model, chats: list[ChatRequest], limits: Limits) -> Collector:
    """Answer ``chats`` one after the other, the next when one is finished."""
    rest = [Generate(id=n, chat=chat) for n, chat in enumerate(chats)]

    def next_one(message: FromWorker) -> Generate | None:
        ended = not isinstance(message, Piece | Prefill)
        return rest[message.id + 1] if ended and message.id + 1 < len(rest) else None

    return run_engine(model, rest[:1], limits=limits, answer=next_one, count=len(rest))


TURNS = ["one two three", "four five six", "seven", "the quick brown fox", "jumps over?"]
SESSION = [talk(*TURNS[:1]), talk(*TURNS[:3]), talk(*TURNS), talk("another one"), talk(*TURNS), talk("no", system="?")]


@pytest.mark.parametrize("kind", ["tiny", "sliding"])
def test_answers_are_the_same_with_and_without(kind: str, request: pytest.FixtureRequest) -> None:
    model: Model = request.getfixturevalue(kind)
    plain, cached = (in_turn(model, SESSION, limits) for limits in (Limits(), CACHED))
    together = run_engine(model, [Generate(id=n, chat=c) for n, c in enumerate(SESSION)], limits=CACHED)
    wanted = [plain.text(n) for n in range(len(SESSION))]

    assert [cached.text(n) for n in range(len(SESSION))] == wanted
    assert [together.text(n) for n in range(len(SESSION))] == wanted


def test_a_turn_computes_only_what_is_new(tiny: Model) -> None:
    collector = in_turn(tiny, SESSION, CACHED)
    usages = [collector.finished(n).usage for n in range(len(SESSION))]

    assert usages[0].cached_tokens == 0
    assert all(usage.prompt_tokens - usage.cached_tokens < 40 for usage in usages[1:5])
    assert usages[5].cached_tokens < 20
    for n, usage in enumerate(usages):
        prefills = [m for m in collector.of(n) if isinstance(m, Prefill)]
        assert {m.cached for m in prefills} == {usage.cached_tokens}
        assert prefills[-1].done == prefills[-1].total == usage.prompt_tokens


def test_a_system_prompt_is_found_though_it_has_left_the_window(sliding: Model) -> None:
    collector = in_turn(sliding, [talk("one"), talk("two")], CACHED)

    assert collector.finished(1).usage.cached_tokens > 48


def test_a_system_prompt_is_computed_once_by_those_who_come_together(tiny: Model) -> None:
    texts = ["one", "two three", "four", "five six", "seven"]
    collector = run_engine(tiny, [Generate(id=n, chat=talk(t)) for n, t in enumerate(texts)], limits=CACHED)
    cached = [collector.finished(n).usage.cached_tokens for n in range(len(texts))]

    assert cached[0] == 0
    assert min(cached[1:]) > 50


def test_who_waits_for_a_system_prompt_goes_on_when_its_computer_is_cancelled(tiny: Model) -> None:
    def early(message: FromWorker) -> Cancel | None:
        return Cancel(id=0) if isinstance(message, Prefill) and message.id == 0 and message.done < 20 else None

    both = [Generate(id=0, chat=talk("one")), Generate(id=1, chat=talk("two"))]
    collector = run_engine(tiny, both, limits=CACHED, answer=early)
    alone = run_engine(tiny, both[1:])

    assert collector.failed(0).kind is FailureKind.CANCELLED
    assert collector.finished(1).usage.cached_tokens == 0
    assert collector.text(1) == alone.text(1)


@pytest.mark.parametrize("kind", ["tiny", "sliding"])
def test_a_cancelled_answer_leaves_the_cache_right(kind: str, request: pytest.FixtureRequest) -> None:
    model: Model = request.getfixturevalue(kind)
    again = Generate(id=1, chat=talk("one two"))

    def cancel_then_ask(message: FromWorker) -> Cancel | Generate | None:
        nonlocal pieces
        if message.id == 0 and isinstance(message, Failed):
            return again
        pieces += message.id == 0 and isinstance(message, Piece)
        return Cancel(id=0) if pieces == 5 and message.id == 0 else None

    pieces = 0
    first = Generate(id=0, chat=talk("one two"))
    collector = run_engine(model, [first], limits=CACHED, answer=cancel_then_ask, count=2)

    assert collector.finished(1).usage.cached_tokens > 50
    assert collector.text(1) == run_engine(model, [again]).text(1)


@pytest.mark.parametrize("kind", ["tiny", "sliding"])
def test_a_whole_prompt_is_known_to_others_while_it_is_answered(kind: str, request: pytest.FixtureRequest) -> None:
    model: Model = request.getfixturevalue(kind)
    chat = ChatRequest(messages=[Message("user", "again " * 40)], sampling=Sampling(temperature=0.0), max_tokens=24)

    def ask_again(message: FromWorker) -> Generate | None:
        nonlocal pieces
        pieces += message.id == 0 and isinstance(message, Piece)
        return Generate(id=1, chat=chat) if message.id == 0 and pieces == 5 else None

    pieces = 0
    collector = run_engine(model, [Generate(id=0, chat=chat)], limits=CACHED, answer=ask_again, count=2)
    usage = collector.finished(1).usage

    assert usage.cached_tokens == usage.prompt_tokens - 1
    assert collector.text(1) == collector.text(0)


def test_a_worker_keeps_prompts_within_its_bytes(tiny_folder: Any) -> None:
    with WorkerClient(tiny_folder, "--prompt-cache", str(MB)) as worker:
        worker.ready()
        for n in range(12):
            worker.chat(talk(f"{n} and more " * 20, system=f"{n} " * 40))
        memory = worker.ping().memory

    assert 0 < memory.prompt_cache <= MB
    assert memory.kv == memory.prompt_cache, "nothing is in flight"
