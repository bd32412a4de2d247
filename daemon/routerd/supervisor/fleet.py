"""The model processes of the present generation, and those of earlier ones that still drain."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import anyio
import structlog

from routerd_client.records import FailureKind

from ..config.plan import needs_restart
from ..config.schema import MlxSpec
from .effects import Effects
from .errors import Failure
from .process import ModelProcess
from .schedule import Slot

log = structlog.get_logger()

DRAIN_S = 30.0
"""How long the open requests of a removed or changed model may go on."""


class Fleet:
    """One process for each model's name, and the old ones; iterating gives all, those that drain last."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._current: dict[str, ModelProcess] = {}
        self._retiring: dict[str, ModelProcess] = {}
        self._numbers = count(1)

    def __repr__(self) -> str:
        return f"<Fleet {list(self._current.values())} {len(self._retiring)} retiring>"

    def __iter__(self) -> Iterator[ModelProcess]:
        return iter([*self._current.values(), *self._retiring.values()])

    def __getitem__(self, name: str) -> ModelProcess:
        """By a model's name, or by a slot's. Raises ``KeyError``."""
        return self._current.get(name) or self._retiring[name]

    def get(self, name: str) -> ModelProcess | None:
        """The present process of the model ``name``."""
        return self._current.get(name)

    def slots(self) -> list[Slot]:
        """What the scheduler needs to know of all of them; those that drain have names of their own."""
        return [process.slot(name) for name, process in (*self._current.items(), *self._retiring.items())]

    def reconcile(self, wanted: dict[str, MlxSpec]) -> None:
        """See `Supervisor.reconcile`."""
        preloaded = {name for name, process in self._current.items() if process.spec.preload}
        for name in list(self._current):
            if name not in wanted or needs_restart(self._current[name].spec, wanted[name]):
                self._retire(self._current.pop(name), DRAIN_S)
            else:
                self._current[name].configure(wanted[name])
        for name, spec in wanted.items():
            if name not in self._current:
                before = [p for p in self._retiring.values() if p.name == name]
                self._current[name] = ModelProcess(name, spec, self._effects, predecessors=before)
                preloaded.discard(name)
            if spec.preload and name not in preloaded:
                self._current[name].start(kept=True)

    def retire(self, seconds: float) -> None:
        """All of them go, and what they answer is cut after ``seconds``."""
        for process in self._current.values():
            self._retire(process, seconds)
        self._current.clear()

    async def gone(self, seconds: float) -> int:
        """Wait until all that was retired is gone; returns how many requests were open after ``seconds``."""
        cut = 0
        with anyio.move_on_after(seconds):
            for process in list(self._retiring.values()):
                await process.idle()
        for process in list(self._retiring.values()):
            cut += process.in_flight
            await process.gone()
        return cut

    def _retire(self, process: ModelProcess, drain_s: float) -> None:
        self._retiring[f"{process.name} (old {next(self._numbers)})"] = process
        process.drain()
        self._effects.tasks.start(f"retire {process.name}", self._end, process, drain_s)

    async def _end(self, process: ModelProcess, drain_s: float) -> None:
        with anyio.move_on_after(drain_s):
            await process.idle()
        cut = process.in_flight
        process.stop(Failure(FailureKind.OVERLOADED, f"{process.name} was removed or changed by a reload"))
        await process.gone()
        self._retiring = {name: p for name, p in self._retiring.items() if p is not process}
        log.info("model.retired", backend=process.name, cut=cut)
        self._effects.changed()
