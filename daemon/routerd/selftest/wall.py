"""The wall: every fault played at every front, and nothing left behind."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import anyio
import structlog
from msgspec import Struct

from ..supervisor.leftovers import started_at
from . import check
from .answer_faults import ANSWERS
from .fake_api import fake_api
from .fault import Expect, Fault, Mode, WrongError
from .front import FRONTS, Ask
from .http_faults import APIS
from .poison_faults import POISONS
from .scripts import SCRIPTS
from .stage import STEP_S, Stage, must, staged
from .worker_faults import WORKERS

FAULTS: tuple[Fault, ...] = (*APIS, *WORKERS, *POISONS, *ANSWERS, *SCRIPTS)
AT_ONCE = 8
"""Rows that are played together."""
CLEAN_S = 10.0
"""How long what was closed may take to be gone."""
NOTHING_LEFT = "nothing is left behind"


class Row(Struct, frozen=True, kw_only=True):
    """One fault at one front in one mode: whether it came to what it must, and what its caller saw."""

    fault: str
    front: str
    mode: str
    ok: bool
    saw: str
    seconds: float = 0.0


class Report(Struct, frozen=True):
    rows: list[Row]
    failed: int


def play(faults: Sequence[Fault] = FAULTS) -> Report:
    """`run`, on the event loop that the daemon has, and without a log: the daemons are made to complain."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        return anyio.run(run, faults, backend_options={"use_uvloop": True})
    finally:
        structlog.configure(**before)


async def run(faults: Sequence[Fault] = FAULTS) -> Report:
    """Play ``faults``, several at a time; the last row says whether a task, a process or a file was left behind."""
    places = [(fault, front, mode) for fault in faults for front in FRONTS for mode in FRONTS[front].rows(fault)]
    rows: list[Row | None] = [None] * len(places)
    limiter, pids = anyio.CapacityLimiter(AT_ONCE), set[int]()
    await _warm_up()
    tasks, files = _tasks(), _files()

    async def play(number: int) -> None:
        async with limiter:
            rows[number] = await _row(*places[number], pids)

    async with anyio.create_task_group() as group:
        for number in range(len(places)):
            group.start_soon(play, number)
    left = await _left(tasks, files, pids)
    found = [row for row in rows if row]
    found.append(Row(fault=NOTHING_LEFT, front="", mode="", ok=not left, saw=left or "no task, process or file"))
    return Report(found, sum(not row.ok for row in found))


def chosen(name: str) -> list[Fault]:
    """The faults whose name has ``name`` in it."""
    return [fault for fault in FAULTS if name.lower() in fault.name.lower()]


async def _row(fault: Fault, front: str, mode: Mode, pids: set[int]) -> Row:
    began = anyio.current_time()
    try:
        saw, ok = await _played(fault, FRONTS[front].ask, mode, pids), True
    except Exception as error:  # whatever it is, the other rows go on
        wrong = _only(error)
        saw, ok = str(wrong) if isinstance(wrong, WrongError) else f"{type(wrong).__name__}: {wrong}", False
    return Row(fault=fault.name, front=front, mode=mode, ok=ok, saw=saw, seconds=anyio.current_time() - began)


def _only(error: BaseException) -> BaseException:
    """The one error inside those of task groups."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def _played(fault: Fault, ask: Ask, mode: Mode, pids: set[int]) -> str:
    """What the caller saw. Raises `WrongError` where that is not what it must see."""
    saw = f"nothing within {fault.within:g} s"
    with anyio.move_on_after(fault.within) as scope:
        async with staged(fault, ask) as stage:
            try:
                script = fault.script
                saw = await (script(stage, mode) if script else _asked(stage, mode, fault.expect[mode]))
                await stage.until(lambda: not stage.status().requests["open"], "its end is recorded")
                await stage.until(lambda: not any(api.in_flight for api in stage.apis.values()), "no backend works on")
            finally:
                pids.update(stage.pids())
    must(not scope.cancelled_caught, saw)
    return saw


async def _asked(stage: Stage, mode: Mode, expect: Expect) -> str:
    """Ask, and compare; and once more, where it says so."""
    before = {name: len(api.asked) for name, api in stage.apis.items()}
    ended = _ended(stage)
    heard = await stage.ask(mode)
    await stage.until(lambda: _ended(stage) > ended, "its end is recorded")
    found = [
        *check.wrongs(stage.fault, expect, heard),
        *check.marks(expect, stage.backend("first")),
        *chain(*(check.asked(name, expect, api.asked[before[name] :]) for name, api in stage.apis.items())),
    ]
    if _ended(stage) != ended + 1:
        found.append("its end is recorded more than once")
    must(not found, "; ".join(found))
    if expect.again is None:
        return heard.story
    return f"{heard.story}; then {await _asked(stage, mode, expect.again)}"


def _ended(stage: Stage) -> int:
    requests = stage.status().requests
    return sum(requests.values()) - requests["open"]


async def _left(tasks: int, files: int, pids: set[int]) -> str:
    """What is left behind, ``""`` for nothing."""
    with anyio.move_on_after(CLEAN_S):
        while _tasks() > tasks or _files() > files or any(map(started_at, pids)):
            gc.collect()
            await anyio.sleep(STEP_S)
        return ""
    alive = [pid for pid in pids if started_at(pid)]
    return f"{_tasks() - tasks} tasks, {_files() - files} files and sockets, processes {alive}"


async def _warm_up() -> None:
    """The event loop keeps a file from its first socket on."""
    async with fake_api():
        pass


def _tasks() -> int:
    return len(anyio.get_running_tasks())


def _files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())
