"""A supervisor by itself, with fake workers, on a machine whose memory a test decides."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from routerd.config.schema import MlxSpec
from routerd.models.size import Footprint, Weights, footprint
from routerd.supervisor.machine import LinuxMachine
from routerd.supervisor.sizing import Size
from routerd.supervisor.supervisor import Supervisor
from routerd_client.chat import ChatRequest, Message

from .daemon import fake_command, fake_size


class MadeUpMachine(LinuxMachine):
    """Linux with 16 GiB, read from files that a test writes. Give it to a `Supervisor`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._root = root
        self.write("proc/meminfo", f"MemTotal: {16 * 1024**2} kB\n")
        self.set_oom_kills(0)

    def write(self, path: str, text: str) -> None:
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_name(file.name + ".new")  # a reader never sees half of it
        scratch.write_text(text)
        scratch.replace(file)

    def set_oom_kills(self, count: int) -> None:
        self.write("proc/vmstat", f"oom_kill {count}\n")

    def set_pressure(self, percent: float) -> None:
        self.write("proc/pressure/memory", f"some avg10={percent:.2f} avg60=0.00 avg300=0.00 total=0\n")

    def set_memory(self, pid: int, size: int) -> None:
        self.write(f"proc/{pid}/status", f"VmRSS: {size // 1024} kB\n")


def spec(options: str = "", **settings: object) -> MlxSpec:
    return MlxSpec(model=f"fake:{options}", **settings)  # type: ignore[arg-type]


def small_footprint() -> Footprint:
    config = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    return footprint(config, Weights(1000, 2))


async def learned_size(model: MlxSpec, folder: Path) -> Size:
    """The fake size, as that of a real model, of which something is learned."""
    size = await fake_size(model, folder)
    return Size(claim=size.claim, key="the model", footprint=small_footprint())


def learned(folder: Path) -> dict[str, dict[str, float]]:
    """What stands in the file of learned sizes."""
    file = folder / "learned.json"
    return json.loads(file.read_text()) if file.exists() else {}


async def ask(supervisor: Supervisor, name: str) -> None:
    """One whole answer. Raises `ProcessFailedError`."""

    async def ignore(_phase: str, _fraction: float | None, _place: int | None) -> None:
        await anyio.lowlevel.checkpoint()

    async with supervisor.lease(name, ignore) as worker:
        with worker.generate(ChatRequest(messages=[Message("user", "hello")])) as stream:
            async for _ in stream:
                pass


@asynccontextmanager
async def supervising(
    folder: Path, machine: MadeUpMachine, *, measure_s: float, **models: MlxSpec
) -> AsyncIterator[Supervisor]:
    """``measure_s``: the seconds between two looks at the machine's memory."""

    async def prepare(_reference: str, _on_phase: object) -> Path:
        return folder

    made = Supervisor(folder, prepare, command=fake_command, sizing=learned_size, machine=machine, measure_s=measure_s)
    async with made as supervisor:
        supervisor.reconcile(models)
        yield supervisor
