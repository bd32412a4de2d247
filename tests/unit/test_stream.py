"""One answer's buffer: in order, joined while nobody reads, bounded."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.supervisor.errors import Failure, ProcessFailedError
from routerd.supervisor.stream import MAX_BUFFERED, Item, Stream
from routerd.wire import Finished, Piece, Prefill
from routerd_client.chat import FinishReason, Function, TokenLogprob, ToolCall, Usage
from routerd_client.records import FailureKind

END = Finished(id=1, finish_reason=FinishReason.STOP, usage=Usage(), decode_s=0.0)


def text(value: str) -> Piece:
    return Piece(id=1, text=value)


def thought(value: str) -> Piece:
    return Piece(id=1, reasoning=value)


def filled(*items: Item) -> Stream:
    stream = Stream(1)
    for item in items:
        assert stream.put(item)
    return stream


async def read(stream: Stream) -> list[Item]:
    return [item async for item in stream]


async def test_pieces_that_wait_are_joined() -> None:
    logprob = TokenLogprob("a", -1.0)
    first = Piece(id=1, text="a", logprobs=[logprob])
    assert await read(filled(first, text("b"), text("c"), END)) == [
        Piece(id=1, tokens=3, text="abc", logprobs=[logprob]),
        END,
    ]


async def test_text_and_reasoning_keep_their_order() -> None:
    stream = filled(thought("Hm"), thought("."), text("Hi"), thought("?"), END)
    brought = [(item.text, item.reasoning) for item in await read(stream) if isinstance(item, Piece)]
    assert brought == [("", "Hm."), ("Hi", ""), ("", "?")]


async def test_tool_calls_of_joined_pieces_are_all_there() -> None:
    calls = [ToolCall(id=str(n), function=Function("f", "{}"), index=n) for n in range(2)]
    items = await read(filled(*(Piece(id=1, tool_calls=[call]) for call in calls), END))
    assert items[0] == Piece(id=1, tokens=2, tool_calls=calls)


async def test_only_the_newest_of_waiting_prefill_steps_is_kept() -> None:
    stream = filled(Prefill(id=1, done=1, total=9), Prefill(id=1, done=5, total=9), text("a"), END)
    assert (await read(stream))[0] == Prefill(id=1, done=5, total=9)


@given(st.lists(st.builds(lambda reasons, s: thought(s) if reasons else text(s), st.booleans(), st.text(max_size=5))))
def test_nothing_is_lost_and_nothing_invented(pieces: list[Piece]) -> None:
    async def collected() -> list[Piece]:
        return [item for item in await read(filled(*pieces, END)) if isinstance(item, Piece)]

    joined = anyio.run(collected)
    assert "".join(p.text for p in joined) == "".join(p.text for p in pieces)
    assert "".join(p.reasoning for p in joined) == "".join(p.reasoning for p in pieces)
    assert sum(p.tokens for p in joined) == len(pieces)


async def test_a_reader_is_woken_by_each_item() -> None:
    stream, seen = Stream(1), []

    async def reader() -> None:
        seen.extend([item async for item in stream])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader)
        for item in (text("a"), text("b"), END):
            await anyio.wait_all_tasks_blocked()
            stream.put(item)
    assert seen == [text("a"), text("b"), END]


async def test_a_reader_that_lets_the_buffer_fill_is_cut_off() -> None:
    stream = filled(text("x" * MAX_BUFFERED))
    assert stream.put(text("y")) is False
    with pytest.raises(ProcessFailedError, match="stopped reading") as caught:
        await read(stream)
    assert caught.value.kind is FailureKind.CANCELLED


async def test_tool_calls_fill_the_buffer_too() -> None:
    stream = Stream(1)
    call = ToolCall(id="c", function=Function("f", "x" * (MAX_BUFFERED // 2)))
    assert stream.put(Piece(id=1, tool_calls=[call]))
    assert stream.put(Piece(id=1, tool_calls=[call])) is False


async def test_what_was_read_makes_room() -> None:
    stream = filled(text("x" * MAX_BUFFERED))
    await anext(stream)
    assert stream.put(text("y" * MAX_BUFFERED))


async def test_a_failure_comes_after_what_was_buffered() -> None:
    stream = filled(text("a"))
    stream.fail(Failure(FailureKind.WORKER_DIED, "it died"))
    assert await anext(stream) == text("a")
    with pytest.raises(ProcessFailedError, match="it died"):
        await anext(stream)


async def test_the_first_end_counts() -> None:
    stream = filled(text("a"), END)
    stream.fail(Failure(FailureKind.WORKER_DIED, "it died"))
    assert stream.put(text("late"))
    assert await read(stream) == [text("a"), END]
