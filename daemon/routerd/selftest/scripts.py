"""Faults that come and go, and those that take more than one request to see."""

from __future__ import annotations

from typing import Any

import anyio

from routerd_client.records import BreakerState

from .check import CLOCKS_S
from .fake_formats import Knobs
from .fault import SECOND, Api, Fault, Mode, Script, api
from .heard import Heard
from .stage import Stage, must

PAUSE_S = 0.02
"""Between two requests of a steady load."""
COOLDOWN_S = 0.4


async def recovers(stage: Stage, mode: Mode) -> str:
    """A limit that has passed: the backend is used again, and not before."""
    limited = await stage.ask(mode)
    must(limited.tries == "first: rate_limited, second", limited.story)
    await stage.until(lambda: not stage.backend("first").retry_in_s, "the first may be asked again")
    after = await stage.ask(mode)
    must(after.tries == "first", after.story)
    first, second = (asked.at for asked in stage.apis["first"].asked)
    must(second - first >= 1.0 - CLOCKS_S, f"asked again after {second - first:.2f} s, not 1 s")
    return f"{limited.story}; after that time {after.story}"


async def flaps(stage: Stage, mode: Mode) -> str:
    """A primary that fails under a steady load, and recovers: one probe a cooldown, nobody notices."""
    sick = Knobs(garbage_after=0, pieces=["It is ", "well."])
    first = stage.apis["first"]
    first.knobs = sick
    for _ in range(3):
        await _whole(stage, mode)
    must(stage.backend("first").breaker is BreakerState.OPEN, "three failures in a row do not open the breaker")
    opened, asked = anyio.current_time(), len(first.asked)
    while anyio.current_time() < opened + 4 * COOLDOWN_S:
        await _whole(stage, mode)
        await anyio.sleep(PAUSE_S)
    probes = len(first.asked) - asked
    gaps = [b.at - a.at for a, b in zip(first.asked[asked - 1 :], first.asked[asked:], strict=False)]
    must(probes >= 1, "it is never probed")
    must(all(gap >= COOLDOWN_S - CLOCKS_S for gap in gaps), f"probed after {min(gaps, default=0):.2f} s")
    first.knobs = Knobs(pieces=sick.pieces)
    answered = ""
    while answered != "first":
        await anyio.sleep(PAUSE_S)
        answered = (await _whole(stage, mode)).tries
    must(stage.backend("first").breaker is BreakerState.CLOSED, "it answers, and its breaker is not closed")
    return "second answers all along, first is probed once a cooldown, and answers again when it is well"


async def _whole(stage: Stage, mode: Mode) -> Heard:
    heard = await stage.ask(mode)
    must(heard.done and heard.text in ("It is well.", SECOND.says), f"{heard.story}: {heard.text!r}")
    return heard


async def reloads(stage: Stage, mode: Mode) -> str:
    """The file changes in the middle of an answer: it goes on to its end, and the next request is by the new file."""
    heard: list[Heard] = []

    async def ask() -> None:
        heard.append(await stage.ask(mode))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await stage.until(lambda: stage.apis["first"].asked, "the request comes")
        await stage.edit(lambda text: text.replace('["first", "second"]', '["second", "first"]'))
        must(not heard, "the answer was over before the file changed")
    must(heard[0].tries == "first", heard[0].story)
    must(heard[0].text == "It is the first that answers you.", f"text {heard[0].text!r}")
    after = await stage.ask(mode)
    must(after.tries == "second", after.story)
    return f"{heard[0].story}; then {after.story}"


async def crowds(stage: Stage, mode: Mode) -> str:
    """Twenty at once, when every first try fails: each caller gets one whole answer."""
    heard: list[Heard] = []

    async def ask() -> None:
        heard.append(await stage.ask(mode))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
    wrong = [one.story for one in heard if one.ends != 1 or not one.done or one.text != SECOND.says]
    must(not wrong, "; ".join(wrong))
    return "twenty whole answers of second"


def _fault(
    name: str, does: str, first: Api, script: Script, *modes: Mode, config: dict[str, Any] | None = None
) -> Fault:
    return Fault(
        name=name,
        does=does,
        backends={"first": first, "second": SECOND},
        script=script,
        modes=modes,
        config=config or {},
    )


FLAPPING = {
    "health": {
        "allowed_fails": 3,
        "cooldown": f"{COOLDOWN_S * 1000:.0f}ms",
        "cooldown_max": f"{COOLDOWN_S * 1000:.0f}ms",
    }
}

SCRIPTS: tuple[Fault, ...] = (
    _fault(
        "429 once",
        "429 and Retry-After: 1, and well after that",
        api(status=429, times=1, headers={"retry-after": "1"}),
        recovers,
        "live",
        "safe",
        "whole",
    ),
    _fault(
        "flapping primary", "it fails under a steady load, and recovers", api(), flaps, "live", "whole", config=FLAPPING
    ),
    _fault("reload midway", "routes.yaml changes in the answer", api(between=0.3), reloads, "live", "safe", "whole"),
    _fault(
        "a crowd at a broken backend",
        "twenty requests at once, and each is cut",
        api(cut_after=0),
        crowds,
        "live",
        "safe",
        "whole",
    ),
)
