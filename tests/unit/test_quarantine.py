"""The table of requests that model processes died with."""

from __future__ import annotations

from msgspec.structs import replace

from routerd.dispatch.quarantine import MAX_DEATHS, Quarantine
from routerd_client.chat import ChatRequest, Message, Priority, Sampling

CHAT = ChatRequest(messages=[Message("user", "hello")])


def test_each_death_is_counted_and_held_for_ten_minutes() -> None:
    quarantine = Quarantine()
    assert quarantine.deaths(CHAT, 0) == (0, 0.0)
    assert quarantine.died(CHAT, "a:1", 0) == 1
    assert quarantine.died(CHAT, "b:2", 100) == MAX_DEATHS
    assert quarantine.deaths(CHAT, 699) == (MAX_DEATHS, 1.0)
    assert quarantine.deaths(CHAT, 700) == (0, 0.0)


def test_the_same_request_by_another_caller_is_the_same() -> None:
    quarantine = Quarantine()
    quarantine.died(CHAT, "a:1", 0)
    again = replace(
        CHAT,
        model="other",
        stream=True,
        session="s",
        context={"trace": "2"},
        deadline_s=5.0,
        priority=Priority.BACKGROUND,
        extra={"openai": {"trace": 10**25}},
    )
    assert quarantine.deaths(again, 0)[0] == 1
    for other in (
        replace(CHAT, messages=[Message("user", "hello!")]),
        replace(CHAT, template_args={"a": 2**128}),
        replace(CHAT, sampling=Sampling(seed=1)),
    ):
        assert quarantine.deaths(other, 0)[0] == 0


def test_a_process_dies_once_however_many_identical_requests_it_held() -> None:
    quarantine = Quarantine()
    assert [quarantine.died(CHAT, "a:1", 0) for _ in range(20)] == [1] * 20


def test_an_answer_clears_it() -> None:
    quarantine = Quarantine()
    quarantine.died(CHAT, "a:1", 0)
    quarantine.answered(CHAT)
    assert quarantine.deaths(CHAT, 0) == (0, 0.0)


def test_the_table_is_bounded_and_drops_the_oldest() -> None:
    quarantine = Quarantine(max_kept=3)
    chats = [replace(CHAT, messages=[Message("user", str(n))]) for n in range(5)]
    for at, chat in enumerate(chats):
        quarantine.died(chat, "a:1", at)
    assert [quarantine.deaths(chat, 5)[0] for chat in chats] == [0, 0, 1, 1, 1]
