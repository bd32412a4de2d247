"""What model processes do to the world."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.schema import MlxSpec
from ..tasks import BackgroundTasks
from .child import Worker
from .sizing import Size

if TYPE_CHECKING:
    from .process import ModelProcess

OnPhase = Callable[[str, float | None], None]
Prepare = Callable[[str, OnPhase], Awaitable[Path]]
"""Turns a model reference into the folder a worker can load, reporting phases and fractions (0..1).

Raises `ProcessFailedError`, kind ``load_failed``; may take minutes."""

Find = Callable[[str], Awaitable[Path | None]]
"""The folder of a model reference that is on this machine already; None where `Prepare` would have to make it, or
nothing can."""


@dataclass(frozen=True)
class Effects:
    """Given by the supervisor, so that a test can give its own.

    ``wanted`` says whether somebody waits for it. ``changed`` hears of every step, ``moved`` of each change
    of residency, ``ended`` of the end of a life. ``size`` says what a model in a folder will need.
    ``recorded(pid, name, alive)`` keeps the file of living workers. ``spawn`` starts one.
    """

    tasks: BackgroundTasks
    prepare: Prepare
    size: Callable[[MlxSpec, Path], Awaitable[Size]]
    spawn: Callable[[MlxSpec, Path, Size, str], Awaitable[Worker]]
    recorded: Callable[[int, str, bool], Awaitable[None]]
    wanted: Callable[[ModelProcess], bool]
    changed: Callable[[], None]
    moved: Callable[[ModelProcess], None]
    ended: Callable[[ModelProcess], None]
