"""``routerctl`` on the ledger of a running daemon: decisions, show, feedback, stats, replay and calibrate."""

from __future__ import annotations

import json
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from tests.support.daemon import Running, ctl, fake, running_daemon
from tests.support.wait import until

DONE, FAILED, WRONG = 0, 1, 2
CONFIG = f"""
version: 1
backends:
  small: {fake("--echo")}
  large: {fake()}
endpoints:
  tiers: {{by_complexity: [{{below: 2, use: small}}, {{use: large}}]}}
routes:
  - {{name: plans, match: {{task: plan}}, use: large}}
default: tiers
ledger: {{text: true}}
"""


async def typed(running: Running, *arguments: str, exits: int = DONE) -> str:
    done = await to_thread.run_sync(partial(ctl, "--socket", str(running.socket), *arguments))
    assert done.returncode == exits, done.stdout + done.stderr
    return done.stdout if exits == DONE else done.stderr


async def test_what_it_prints_of_the_ledger(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, CONFIG) as running, running.client() as client:
        assert "no such requests" in await typed(running, "decisions")
        assert "no requests" in await typed(running, "stats")
        hello = await client.chat("Hello you")
        plan = await client.chat("Plan it", context={"task": "plan"})

        lines = (await typed(running, "decisions", "--since", "1h")).splitlines()
        assert lines[0].split() == [
            "TIME",
            "REQUEST",
            "ROUTE",
            "ENDPOINT",
            "BACKEND",
            "MODEL",
            "OUTCOME",
            "FIRST",
            "TOTAL",
            "TOKENS",
        ]
        assert [plan.request_id in lines[1], hello.request_id in lines[2]] == [True, True]
        assert "tiers (simple)" in lines[2]
        listed = json.loads(await typed(running, "decisions", "--json", "--route", "plans"))
        assert [(row["request_id"], row["backend"], row["cost_microusd"]) for row in listed["chats"]] == [
            (plan.request_id, "large", 0)
        ]
        assert "no such requests" in await typed(running, "decisions", "--failed", "--backend", "small")
        assert "no span of time" in await typed(running, "decisions", "--since", "soon", exits=WRONG)

        assert "noted: 0.25" in await typed(
            running, "feedback", hello.request_id, "--score", "0.25", "--note", "too short"
        )
        assert "noted: 1" in await typed(running, "feedback", plan.request_id, "--ok")
        assert "noted: 0" in await typed(running, "feedback", plan.request_id, "--bad")
        for said in ((), ("--ok", "--bad")):
            assert "one of --ok, --bad and --score" in await typed(
                running, "feedback", hello.request_id, *said, exits=WRONG
            )
        assert "no request 'nobody'" in await typed(running, "feedback", "nobody", "--ok", exits=FAILED)
        said = json.loads(await typed(running, "feedback", plan.request_id, "--score", "0.5", "--json"))
        assert said == {"request_id": plan.request_id, "score": 0.5, "note": ""}
        for option in ("--backend", "--route"):
            for command in (("decisions",), ("decisions", "-f")):
                assert "'nosuch'" in await typed(running, *command, option, "nosuch", exits=FAILED)
        assert hello.request_id in await typed(running, "decisions", "--route", "(default)")

        story = await typed(running, "show", hello.request_id)
        for told in ("ok at", "client test", "9 characters", "tiers: the default; complexity", "candidate  small: "):
            assert told in story
        for told in (
            "attempt 1  small, ok",
            f", {hello.usage.prompt_tokens} + {hello.usage.completion_tokens} tokens\nanswer",
            "answer     small (fake:--echo)",
            "0.25, too short",
            "prompt     Hello you",
        ):
            assert told in story
        assert json.loads(await typed(running, "show", hello.request_id, "--json"))["chat"]["answer"] == "Hello you"
        assert await typed(running, "show", hello.request_id[:-1]) == story
        assert "several requests begin with ''" in await typed(running, "show", "", exits=FAILED)
        assert "no request 'nobody'" in await typed(running, "show", "nobody", exits=FAILED)

        figures = json.loads(await typed(running, "stats", "--json"))
        assert "id" not in figures
        assert "id" not in json.loads(await typed(running, "status", "--json"))
        assert {row["name"]: row["requests"] for row in figures["rows"]} == {"small": 1, "large": 1}
        assert set(figures["tiers"]) == {
            "simple_tier_requests",
            "complex_tier_requests",
            "total_requests",
            "avg_simple_score",
            "avg_complex_score",
            "fallback_count",
            "simple_tier_percentage",
        }
        assert "1 requests, 100 % of them simple" in await typed(running, "stats", "--by", "route")
        assert "no requests" in await typed(running, "stats", "--reset")
        assert json.loads(await typed(running, "status", "--json"))["tiers"]["total_requests"] == 0


async def test_following_prints_what_ends_from_now_on(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, CONFIG) as running, running.client() as client:
        before = await client.chat("Hello")
        command = [sys.executable, "-c", "from routerd.ctl import main; main()", "--socket", str(running.socket)]
        out = tmp_path / "out.txt"
        with out.open("wb") as stdout:
            process = await anyio.open_process(
                [*command, "decisions", "-f", "--json", "--backend", "small"], stdout=stdout
            )
        try:

            def told() -> list[str]:
                lines = out.read_text().splitlines(keepends=True)
                return [json.loads(line)["request_id"] for line in lines if line.endswith("\n")]

            await until(lambda: told() == [before.request_id], "the newest are told", deadline=30)
            await until(lambda: running.daemon.listener.connections >= 2, "it watches", deadline=30)
            after: list[str] = []

            async def another() -> bool:
                await client.chat("Plan", context={"task": "plan"})
                after.append((await client.chat("Hello again")).request_id)
                await anyio.sleep(0.05)
                return told()[1:] == after[: len(told()) - 1] and len(told()) > 1

            await until(another, "a new one is told, and of this backend alone", deadline=30)
        finally:
            process.kill()
            await process.wait()


async def test_following_loses_nothing_however_much_comes_at_once(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, CONFIG) as running, running.client() as client:
        command = [sys.executable, "-c", "from routerd.ctl import main; main()", "--socket", str(running.socket)]
        out = tmp_path / "out.txt"
        with out.open("wb") as stdout:
            process = await anyio.open_process([*command, "decisions", "-f"], stdout=stdout)
        try:
            asked: list[str] = []

            def told() -> list[str]:
                return [line.split()[2] for line in out.read_text().splitlines()[1:]]

            async def another() -> bool:
                asked.append((await client.chat("Hello")).request_id)
                await anyio.sleep(0.05)
                return len(told()) > 1

            await until(another, "it follows", deadline=30)
            process.send_signal(signal.SIGSTOP)
            asked += [(await client.chat("Hello")).request_id for _ in range(250)]
            process.send_signal(signal.SIGCONT)
            await until(lambda: told()[-1:] == asked[-1:], "the last one is told", deadline=30)
            assert told() == asked

            heading, *lines = out.read_text().splitlines()
            assert heading.split()[:2] == ["TIME", "REQUEST"]
            at = heading.index("OUTCOME")
            assert {line[at - 1 : at + 3] for line in lines} == {" ok "}
        finally:
            process.kill()
            await process.wait()


async def test_what_is_told_of_a_shadow_and_of_how_a_request_was_asked(tmp_path: Path) -> None:
    bands = "[{below: 2, use: small}, {use: large}]"
    shadowed = f"{{by_complexity: {bands}, shadow: {{to: large, share: 1}}, ab: {{below: [2, 3], share: 1}}}}"
    config = CONFIG.replace(f"{{by_complexity: {bands}}}", shadowed)
    assert config != CONFIG
    async with running_daemon(tmp_path, config) as running, running.client() as client:
        done = await client.chat("Hello", priority="background")

        async def compared() -> bool:
            return bool((await client.stats()).shadows)

        await until(compared, "the other backend is asked too")
        story = await typed(running, "show", done.request_id)
        assert ", variant b\n" in story
        assert "client test, priority background\n" in story
        (shadow,) = [chat.request_id for chat in await client.decisions() if chat.client == "shadow"]
        judged = "quality not judged, the other's not judged"
        assert f"compared   with its shadow {shadow}: agreement " in story
        assert judged in story
        assert f"compared   as the shadow of {done.request_id}: " in await typed(running, "show", shadow)
        assert (await typed(running, "stats", "--shadow")).count("not judged") >= 2


async def test_yesterdays_requests_are_decided_again_and_learned_from(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, CONFIG) as running, running.client() as client:
        for number in range(12):
            await client.feedback((await client.chat(f"say hello to number {number}")).request_id, ok=True)
            await client.feedback((await client.chat(f"prove lemma number {number}")).request_id, ok=False)
        await client.chat("Plan it", context={"task": "plan"})

        edited = tmp_path / "edited.yaml"
        route = "  - {name: lemmas, match: {prompt: [lemma]}, use: large}\n  - {name: plans"
        edited.write_text(CONFIG.replace("  - {name: plans", route))
        found: dict[str, Any] = json.loads(await typed(running, "replay", "--file", str(edited), "--json"))
        assert (found["requests"], len(found["moves"]), found["unsure"]) == (25, 12, [])
        assert {(move["was"], move["now"], move["why"]) for move in found["moves"]} == {
            ("small", "large", "route lemmas")
        }
        assert (
            json.loads(await typed(running, "replay", "--file", str(edited), "--since", "0s", "--json"))["moves"] == []
        )

        model = tmp_path / "learned.msgpack"
        done = await typed(running, "calibrate", "--weak", "small", "--out", str(model), "--json")
        assert json.loads(done)["rows"] == 24
        assert model.exists()
        assert "too few" in await typed(running, "calibrate", "--weak", "large", exits=WRONG)
        assert "either FILE or --weak" in await typed(running, "calibrate", exits=WRONG)
