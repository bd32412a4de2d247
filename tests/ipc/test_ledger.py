"""The ledger of a running daemon: what it records of chats, tells, and learns."""

from __future__ import annotations

import sqlite3

import anyio
import pytest

from routerd.ctl.ledger import row
from routerd_client.errors import RequestFailedError
from routerd_client.protocol import ErrorCode
from routerd_client.records import FailureKind, Outcome
from tests.support.daemon import Running, fake, routes, running_daemon
from tests.support.wait import until

REFUSAL = "I'm sorry, but I can't help with that request."
TWO = f"""
version: 1
backends:
  shaky: {fake("--echo")}
  sound: {fake()}
endpoints:
  watched: {{fallback: [shaky, sound], escalate_on: [error, refusal]}}
  tiers: {{by_complexity: [{{below: 2, use: shaky}}, {{use: sound}}]}}
  learns: {{adaptive: [shaky, sound]}}
  careful: {{headroom: [shaky, sound], quality_floor: 0.8}}
routes:
  - {{name: homework, match: {{task: homework}}, use: watched}}
default: watched
"""


async def test_status_does_not_wait_for_a_slow_disk(tmp_path):
    async with running_daemon(tmp_path, TWO) as running, running.client() as client:
        await client.chat("Hello")
        assert (await client.status()).tiers is not None
        other = sqlite3.connect(running.places.state / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            await client.chat("Hello")
            assert (await client.status()).tiers is None
        finally:
            other.close()


async def test_every_chat_is_told_with_its_whole_story(tmp_path):
    async with running_daemon(tmp_path, TWO) as running, running.client() as client:
        plain = await client.chat("Hello there", session="s1", context={"platform": "cli"}, model="sound")
        passed = await client.chat(REFUSAL, context={"task": "homework"})
        with pytest.raises(RequestFailedError):
            await client.chat("Hello", model="nobody")
        await _cancelled(client)
        await client.route("Nobody records this")

        newest = await client.decisions()
        assert [chat.outcome for chat in newest] == [Outcome.CANCELLED, Outcome.FAILED, Outcome.OK, Outcome.OK]
        assert [(chat.backend, chat.tried) for chat in newest] == [
            ("", "shaky"),
            ("", ""),
            ("sound", "sound"),
            ("sound", "sound"),
        ]
        cancelled, unknown = (row(chat) for chat in newest[:2])
        assert (cancelled["backend"], cancelled["route"]) == ("shaky", "(request)")
        assert (unknown["backend"], unknown["endpoint"], unknown["route"]) == ("", "nobody", "")
        assert [chat.request_id for chat in await client.decisions(limit=1, before=newest[1].request_id)] == [
            passed.request_id
        ]
        assert [chat.code for chat in await client.decisions(failed=True)] == ["not_found"]
        assert [chat.request_id for chat in await client.decisions(route="homework")] == [passed.request_id]
        assert passed.request_id in {chat.request_id for chat in await client.decisions(backend="shaky")}
        assert await client.decisions(since_s=0) == []
        with pytest.raises(RequestFailedError) as failed:
            await client.decisions(before="000000000000")
        assert failed.value.code is ErrorCode.NOT_FOUND

        story = await client.show(plain.request_id)
        assert (story.client, story.session, story.context) == ("test", "s1", {"platform": "cli"})
        assert (story.asked, story.named, story.endpoint, story.route) == ("sound", "request", "sound", "")
        assert (story.backend, story.model, story.finish, story.hops) == ("sound", plain.model, "stop", 1)
        assert (story.usage, story.ttft_s, story.flaw) == (plain.usage, plain.ttft_s, None)
        assert story.total_s >= plain.ttft_s
        assert (story.measures.chars, story.measures.prompt_bytes, story.measures.turn) == (11, 11, 1)
        assert (story.prompt, story.answer) == (None, None)

        story = await client.show(passed.request_id)
        assert (story.route, story.endpoint, story.backend) == ("homework", "watched", "sound")
        assert [(a.backend, a.outcome, a.failure) for a in story.attempts] == [
            ("shaky", Outcome.FAILED, FailureKind.REFUSAL),
            ("sound", Outcome.OK, None),
        ]
        assert [c.backend for c in story.candidates] == ["shaky", "sound"]
        with pytest.raises(RequestFailedError, match="no request"):
            await client.show("nonsense")


async def test_the_way_that_is_shown_can_be_asked_for_and_an_unknown_name_is_told(tmp_path):
    async with running_daemon(tmp_path, TWO) as running, running.client() as client:
        named = await client.chat("Hello", model="shaky")
        default = await client.chat("Hello")
        for way, done in (("(request)", named), ("(default)", default)):
            found = await client.decisions(route=way)
            assert [(chat.request_id, row(chat)["route"]) for chat in found] == [(done.request_id, way)]
        assert await client.decisions(route="(session)") == await client.decisions(route="homework") == []

        for what, known in (("backend", "shaky, sound"), ("route", r"homework, \(default\)")):
            with pytest.raises(RequestFailedError, match=f"there is no {what} 'nosuch'.*{known}") as failed:
                await client.decisions(**{what: "nosuch"})
            assert failed.value.code is ErrorCode.NOT_FOUND

        running.write(routes(sound=fake()))
        await client.reload()
        assert [chat.request_id for chat in await client.decisions(backend="shaky", since_s=0)] == []
        assert len(await client.decisions(backend="shaky")) == 2


async def _cancelled(client) -> None:
    with anyio.CancelScope() as scope:
        async for event in client.stream("t " * 1000, model="shaky"):
            if event.text:
                scope.cancel()


async def test_figures_by_backend_route_and_task_and_a_reset(tmp_path):
    async with running_daemon(tmp_path, TWO) as running, running.client() as client:
        refused = await client.chat(REFUSAL, model="shaky")
        await client.chat(REFUSAL, context={"task": "homework"})
        simple = await client.chat("What time is it?", model="tiers")
        await client.chat(
            "Design a distributed architecture, analyse the trade-offs step by step, and prove that it is correct.",
            model="tiers",
        )
        await client.feedback(simple.request_id, ok=True, note="right")
        await client.feedback(simple.request_id, score=0.5)

        found = await client.stats()
        rows = {row.name: row for row in found.rows}
        shaky, sound = rows["shaky"], rows["sound"]
        assert (shaky.requests, shaky.ok, shaky.failed, shaky.refusals, shaky.escalations) == (3, 2, 1, 2, 1)
        assert (sound.requests, sound.success, sound.refusals) == (2, 1.0, 0)
        assert shaky.success == pytest.approx(2 / 3)
        assert running.backend("shaky").refusal_rate == pytest.approx(2 / 3)
        assert running.backend("sound").refusal_rate == 0
        assert (shaky.feedback, sound.feedback) == (0.75, None)
        assert 0 < shaky.ttft_p50_s <= shaky.ttft_p95_s
        assert shaky.total_p50_s >= shaky.ttft_p50_s
        assert found.tiers.simple_tier_requests == found.tiers.complex_tier_requests == 1
        assert found.tiers.total_requests == 2
        assert found.tiers.simple_tier_percentage == 50
        assert found.tiers.avg_simple_score < 2 <= found.tiers.avg_complex_score
        assert found.tiers.fallback_count == 0
        assert (await client.status()).tiers == found.tiers

        by_route = {row.name: row for row in (await client.stats("route")).rows}
        assert (by_route["homework"].requests, by_route[""].requests) == (1, 3)
        assert by_route["homework"].escalations == by_route["homework"].refusals == 1
        by_task = {row.name: row.requests for row in (await client.stats("task")).rows}
        assert by_task == {"homework": 1, "": 3}
        assert [row.name for row in (await client.stats("client")).rows] == ["test"]

        assert (await client.stats(reset=True)).rows == []
        assert (await client.stats(since_s=60)).rows != []
        assert (await client.show(refused.request_id)).flaw is FailureKind.REFUSAL
        story = await client.show(simple.request_id)
        assert [(f.score, f.note) for f in story.feedback] == [(1.0, "right"), (0.5, "")]
        with pytest.raises(RequestFailedError, match="from 0"):
            await client.feedback(simple.request_id, score=1.5)
        with pytest.raises(RequestFailedError, match="no request"):
            await client.feedback("nonsense", ok=True)
        with pytest.raises(TypeError, match="either"):
            await client.feedback(simple.request_id)


async def test_texts_are_kept_only_where_asked_for_and_no_more_than_asked_for(tmp_path):
    config = routes(small=fake("--echo"), rest="ledger: {text: true, text_max: 10}")
    async with running_daemon(tmp_path, config) as running, running.client() as client:
        done = await client.chat("Grüße an alle Welt")
        story = await client.show(done.request_id)
        assert (story.prompt, story.answer) == ("Grüße an", "Grüße an")
        streamed = [event async for event in client.stream("One two")][-1]
        assert (await client.show(streamed.request_id)).answer == "One two"
        assert [chat.answer for chat in await client.decisions(whole=True)] == ["One two", "Grüße an"]

        running.write(routes(small=fake("--echo"), rest="ledger: {text: false}"))
        await client.reload()
        quiet = await client.chat("A secret")
        assert (await client.show(quiet.request_id)).prompt is None
    content = b"".join(file.read_bytes() for file in (tmp_path / "state").glob("ledger.db*"))
    assert b"secret" not in content


async def test_what_is_too_old_is_removed(tmp_path):
    config = routes(small=fake())
    async with running_daemon(tmp_path, config) as running, running.client() as client:
        await client.chat("Hello")
    with sqlite3.connect(tmp_path / "state" / "ledger.db") as connection:
        for table in ("decisions", "attempts"):
            connection.execute(f"UPDATE {table} SET time = time - 91 * 86400")
    connection.close()
    async with running_daemon(tmp_path, config) as running, running.client() as client:
        new = await client.chat("Hello again")

        async def only_the_new_one() -> bool:
            return [chat.request_id for chat in await client.decisions()] == [new.request_id]

        await until(only_the_new_one, "the old one is removed")


async def test_a_backend_that_refuses_is_preferred_less_also_after_a_restart(tmp_path):
    async with running_daemon(tmp_path, TWO) as running, running.client() as client:
        assert (await client.route("Hello", model="careful")).candidates[0].backend == "shaky"
        for _ in range(30):
            await client.chat(REFUSAL, model="shaky")
            await client.chat("Hello", model="sound")
        assert await _share_of_sound(client) > 0.8
        assert (await client.route("Hello", model="careful")).candidates[0].backend == "sound"
    async with running_daemon(tmp_path, TWO) as running, running.client() as client:

        async def learned() -> bool:
            return await _share_of_sound(client) > 0.8

        await until(learned, "what was recorded is read")


async def test_bad_feedback_lowers_a_preference_at_once(tmp_path):
    async with running_daemon(tmp_path, TWO) as running, running.client() as client:
        for _ in range(10):
            done = await client.chat("Hello", model="shaky")
            await client.feedback(done.request_id, ok=False)
            await client.chat("Hello", model="sound")
        assert await _share_of_sound(client) > 0.8


async def _share_of_sound(client) -> float:
    first = [(await client.route("Hello", model="learns")).candidates[0].backend for _ in range(100)]
    return first.count("sound") / len(first)


async def test_a_broken_ledger_stops_nobody_and_status_says_so(tmp_path):
    (tmp_path / "state" / "ledger.db").mkdir(parents=True)
    async with running_daemon(tmp_path, routes(small=fake())) as running, running.client() as client:
        done = await client.chat("Hello")
        status = await client.status()
        assert status.ledger.mode == "memory"
        assert status.ledger.reason
        assert (await client.show(done.request_id)).backend == "small"
        (tmp_path / "state" / "ledger.db").rmdir()
        await until(lambda: _mode(running) == "file", "it is written again", deadline=30)
        assert (await client.show(done.request_id)).backend == "small"


def _mode(running: Running) -> str:
    ledger = running.status().ledger
    assert ledger
    return ledger.mode
