"""An answer on its way to the caller: nothing of it is lost or sent twice, whatever happens to the ones who send it."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest
from msgspec.structs import replace

from routerd.backends.base import End, Piece
from routerd.dispatch.reception import Reception
from routerd.routing.terms import Terms
from routerd_client.chat import ChatRequest, FinishReason, Function, Message, ToolCall, Usage
from routerd_client.protocol import Delta, Event, Retracted
from routerd_client.records import FailureKind
from tests.support.wait import until

END = End(FinishReason.STOP, Usage())
CALL = ToolCall(id="1", function=Function("look", "{}"))
REFUSALS = Terms(escalate_on=frozenset(["refusal"]))
STREAM = ChatRequest(messages=[Message("user", "What is it?")], stream=True)


class Caller:
    """Takes what is sent; while it has no ``room``, the sender waits, as for a client that does not read."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.room = anyio.Event()
        self.room.set()

    async def take(self, event: Event) -> None:
        self.events.append(event)
        await self.room.wait()

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Delta)]


def reception(
    caller: Caller, terms: Terms = REFUSALS, chat: ChatRequest = STREAM, *, judged: bool = False
) -> Reception:
    return Reception(7, 2, chat, terms, caller.take, judged=judged)


async def feed(to: Reception, texts: Sequence[str]) -> None:
    for text in texts:
        await to.receive(Piece(text))


@pytest.mark.parametrize("more", [[], [" that", " it", " is."]], ids=["nothing more", "more to come"])
async def test_what_a_timer_could_not_send_before_the_end_comes_after_all(more: list[str]) -> None:
    caller = Caller()
    caller.room = anyio.Event()
    one = reception(caller)
    begins = ["I", " think", " so"]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.release_in_time)
        await feed(one, begins)
        await until(lambda: caller.texts == ["I"], "the timer sends, and must wait for the caller")
        async with anyio.create_task_group() as answer:
            answer.start_soon(feed, one, more)
            await anyio.wait_all_tasks_blocked()
            if more:
                caller.room.set()
        tasks.cancel_scope.cancel()
    caller.room.set()
    await one.ended(END)
    await one.release()

    assert caller.texts == begins + more
    assert {(event.id, event.attempt) for event in caller.events if isinstance(event, Delta)} == {(7, 2)}


async def test_what_was_taken_back_comes_again_as_a_whole() -> None:
    caller = Caller()
    one = reception(caller, Terms())

    await one.receive(Piece(reasoning="hm"))
    await feed(one, ["The", " capital"])
    await one.receive(Piece(tool_calls=[CALL]))
    await one.ended(END)
    await one.take_back("because")
    assert not one.released
    await one.take_back("nothing is left to take back")
    await one.release()
    await one.release()

    back = caller.events.index(Retracted(id=7, attempt=2, reason="because"))
    assert caller.events[back + 1 :] == [Delta(id=7, attempt=2, text="The capital", reasoning="hm", tool_calls=[CALL])]


@pytest.mark.parametrize("terms", [Terms(stream_mode="safe"), Terms()], ids=["safe", "judged"])
async def test_what_is_to_be_judged_stays_until_it_is_released(terms: Terms) -> None:
    caller = Caller()
    one = reception(caller, terms, judged=terms.stream_mode == "live")

    await feed(one, ["The", " capital"])
    await one.ended(END)
    assert (caller.events, one.released, one.finding) == ([], False, None)
    await one.release()

    assert caller.texts == ["The", " capital"]


async def test_after_a_finding_the_rest_is_kept_for_the_case_that_nobody_does_better() -> None:
    caller = Caller()
    one = reception(caller)
    texts = ["I can't", " help with that. ", "Ask", " me", " something else."]

    await feed(one, texts)
    await one.ended(END)
    assert one.finding
    assert one.finding.kind is FailureKind.REFUSAL
    assert caller.events == []
    await one.release()

    assert caller.texts == texts


async def test_a_fault_that_is_minded_comes_before_one_that_is_not() -> None:
    caller = Caller()
    one = reception(caller, Terms(escalate_on=frozenset(["length"])))

    await feed(one, ["I can't help with that. "])
    await one.ended(End(FinishReason.LENGTH, Usage()))

    assert one.finding
    assert one.finding.fault == "length"


async def test_an_answer_that_is_not_streamed_is_a_message() -> None:
    caller = Caller()
    one = reception(caller, REFUSALS, ChatRequest(messages=STREAM.messages))

    await one.receive(Piece("Yes", "hm", [CALL]))
    await one.receive(Piece("."))
    await one.ended(END)
    await one.release()

    assert caller.events == []
    assert one.message("") == Message("assistant", "Yes.", tool_calls=[CALL], reasoning="hm")


BROKEN = ToolCall(id="2", function=Function("look", '{"at": '), index=1)


async def test_calls_nobody_can_read_are_text_and_the_others_are_numbered_anew() -> None:
    caller = Caller()
    one = reception(caller, Terms(escalate_on=frozenset()), replace(STREAM, stream=False))
    sound = ToolCall(id="3", function=Function("look", '{"at": 1}'), index=2)

    await one.receive(Piece("I look."))
    await one.receive(Piece(tool_calls=[BROKEN, CALL, sound]))
    await one.ended(End(FinishReason.TOOL_CALLS, Usage()))

    message = one.message("")
    assert message.text == 'I look.\nlook({"at": )'
    assert [(call.id, call.index) for call in message.tool_calls] == [("1", 0), ("3", 1)]
    assert one.flaw.startswith("the arguments of its call of look are no JSON")
    assert one.finding
    assert (one.finding.fault, one.finding.kind) == ("broken_call", FailureKind.DEGENERATE)


@pytest.mark.parametrize(
    "arguments", ["{", '{"at": NaN}', '{"at": Infinity}', '{"at": "\\d"}', '{"at": 1} {"at": 2}', "at=1"]
)
async def test_a_broken_call_is_held_where_the_next_may_be_asked(arguments: str) -> None:
    caller = Caller()
    one = reception(caller, Terms())

    await one.receive(Piece(tool_calls=[ToolCall(id="1", function=Function("look", arguments))]))

    assert one.finding
    assert one.finding.fault == "broken_call"
    assert (caller.events, one.released) == ([], False)


@pytest.mark.parametrize("arguments", ["", "{}", "[1]", '"at"', '{"at": "five"}'])
async def test_json_that_does_not_fit_is_a_call_all_the_same(arguments: str) -> None:
    caller = Caller()
    one = reception(caller, Terms())
    call = ToolCall(id="1", function=Function("look", arguments))

    await one.receive(Piece(tool_calls=[call]))

    assert one.tool_calls == [call]
    assert one.flaw == ""
    assert [event.tool_calls for event in caller.events if isinstance(event, Delta)] == [[call]]


@pytest.mark.parametrize(
    ("empty", "reason", "found"), [(300, "length", True), (300, "stop", False), (20, "length", False)]
)
async def test_tokens_without_text_up_to_the_limit_are_a_loop(empty: int, reason: str, found: bool) -> None:
    one = reception(Caller(), Terms(), replace(STREAM, stream=False))

    await feed(one, ["It is", *[""] * empty])
    await one.ended(End(FinishReason(reason), Usage()))

    assert (one.finding is not None and "tokens without any text" in one.finding.message) is found
