"""An answer that broke off, and a backend that goes on with it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from routerd.selftest.fake_api import fake_api
from routerd.selftest.fake_formats import Knobs
from routerd_client import AsyncClient, Delta, Done, Event, InterruptedAnswerError
from tests.support.daemon import running_daemon


async def test_the_next_is_asked_with_what_the_caller_holds(tmp_path: Path) -> None:
    broken = Knobs(pieces=["One, ", "two, ", "three"], cut_after=2, between=0.05)
    async with fake_api(broken) as first, fake_api(Knobs(pieces=["  three."])) as second:
        backends = {
            "first": {"openai": {"model": "a", "base_url": first.base_url}},
            "second": {"openai": {"model": "b", "base_url": second.base_url, "prefill": True}},
        }
        config = {
            "version": 1,
            "backends": backends,
            "endpoints": {"both": {"fallback": ["first", "second"]}},
            "default": "both",
        }
        async with running_daemon(tmp_path, json.dumps(config)) as running:
            events = [event async for event in stream(running.client(), max_tokens=20)]
        text = "".join(event.text for event in events)
        done = events[-1]

        assert text == "One, two, three."
        assert isinstance(done, Done)
        assert (done.backend, done.attempt, done.began) == ("second", 2, 1)
        assert {event.attempt for event in events if isinstance(event, Delta)} == {1, 2}
        assert second.asked[0].body["messages"] == [
            {"role": "user", "content": "Count."},
            {"role": "assistant", "content": "One, two,"},
        ]
        assert second.asked[0].body["max_tokens"] == 18, "two pieces are out"


async def stream(client: AsyncClient, **options: int) -> AsyncIterator[Event]:
    async with client:
        async for event in client.stream("Count.", **options):
            yield event


async def test_nobody_goes_on_where_the_route_wants_no_other_after_an_error(tmp_path: Path) -> None:
    broken = Knobs(pieces=["One, ", "two, ", "three"], cut_after=2, between=0.05)
    async with fake_api(broken) as first, fake_api(Knobs()) as second:
        backends = {
            "first": {"openai": {"model": "a", "base_url": first.base_url}},
            "second": {"openai": {"model": "b", "base_url": second.base_url, "prefill": True}},
        }
        config = {
            "version": 1,
            "backends": backends,
            "endpoints": {"both": {"fallback": ["first", "second"], "escalate_on": ["empty"]}},
            "default": "both",
        }
        async with running_daemon(tmp_path, json.dumps(config)) as running:
            with pytest.raises(InterruptedAnswerError):
                async for _ in stream(running.client()):
                    pass
        assert second.asked == []
