"""The way of one load up to its process: the model's folder, its size, and its memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from ..config.schema import MlxSpec
from .effects import Effects
from .sizing import Size


class Loading:
    """One load that has no process yet. ``before`` waits for what must be gone first; ``changed`` is called
    with each step."""

    def __init__(
        self, spec: MlxSpec, effects: Effects, before: Callable[[], Awaitable[None]], changed: Callable[[], None]
    ) -> None:
        self.progress: tuple[str, float | None] = ("loading", None)
        """The phase and how much of it is done (0..1, None where unknown)."""
        self.size: Size | None = None
        self._spec = spec
        self._effects = effects
        self._before = before
        self._changed = changed
        self._granted = anyio.Event()
        self._scope = anyio.CancelScope()

    @property
    def asking(self) -> bool:
        """Whether it waits for memory."""
        return self.size is not None and not self._granted.is_set()

    def grant(self) -> None:
        """It has its memory."""
        self._granted.set()

    def cancel(self) -> None:
        self._scope.cancel()

    async def run(self) -> tuple[Path, Size] | None:
        """The folder and the size, once its memory was granted; None where it was cancelled before.

        Raises `ProcessFailedError` and ``OSError``.
        """
        with self._scope:
            await self._before()
            folder = await self._effects.prepare(self._spec.model, self._on_phase)
            self.size = await self._effects.size(self._spec, folder)
            self._on_phase("memory", None)
            await self._granted.wait()
            self._on_phase("loading", None)
            return folder, self.size
        return None

    def _on_phase(self, phase: str, fraction: float | None) -> None:
        self.progress = (phase, fraction)
        self._changed()
