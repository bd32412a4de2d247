"""What is known of a model before it was ever loaded: read from its folder, once that is there."""

from __future__ import annotations

from pathlib import Path
from weakref import WeakKeyDictionary

import anyio
import structlog
from msgspec import Struct

from .. import disk
from ..config.schema import MlxSpec
from ..models.chat_template import shows_tools
from ..models.size import read_context
from ..tasks import BackgroundTasks
from .effects import Find
from .errors import ProcessFailedError
from .files import StateFiles
from .learned import Learned
from .process import ModelProcess
from .sizing import SIZE_S, size_of

log = structlog.get_logger()

LOOK_AGAIN_S = 10.0
"""A model whose files were not there is looked for again after this long."""


class Outlook(Struct, frozen=True):
    """``context`` is for prompt and answer together, in tokens; ``load_s`` the seconds that the last load took, 0
    where none is known; ``needs`` the bytes it will claim; ``tools``: nothing speaks against its calling tools."""

    context: int
    load_s: float = 0.0
    needs: int = 0
    tools: bool = True


def outlook_of(spec: MlxSpec, folder: Path, learned: Learned) -> Outlook:
    """What to expect of the model in ``folder`` under ``spec``; the context as its worker will say it.

    Blocks on the disk. Raises `ProcessFailedError`, ``OSError`` and ``ValueError`` where its files are damaged.
    """
    size = size_of(spec, folder, learned)
    contexts = [read_context(folder), spec.context]
    if size.footprint is None:  # the ranks of several machines keep to the tokens themselves
        contexts.append(spec.kv_tokens)
        return Outlook(min(n for n in contexts if n is not None), needs=size.claim, tools=shows_tools(folder))
    record = learned.measured(size.key, size.footprint)
    contexts.append(size.footprint.longest(size.kv_pool))
    return Outlook(
        min(n for n in contexts if n is not None),
        record.load_s if record else 0.0,
        needs=size.claim,
        tools=shows_tools(folder),
    )


class Outlooks:
    """Looks models up off the loop, and tells their processes."""

    def __init__(self, tasks: BackgroundTasks, find: Find, files: StateFiles) -> None:
        self._tasks = tasks
        self._find = find
        self._files = files
        self._due: WeakKeyDictionary[ModelProcess, float] = WeakKeyDictionary()

    def want(self, process: ModelProcess) -> None:
        """Have it looked up, where nothing is known of it, and nobody has looked just now. Returns at once."""
        now = anyio.current_time()
        if process.context is None and now >= self._due.get(process, now):
            self._due[process] = now + LOOK_AGAIN_S
            self._tasks.start(f"look up {process.name}", self._look, process)

    async def _look(self, process: ModelProcess) -> None:
        try:
            if folder := await self._find(process.spec.model):
                learned = self._files.learned
                found = await disk.run(outlook_of, process.spec, folder, learned, what=folder, within=SIZE_S)
                process.expect(found.context, found.load_s, needs=found.needs, tools=found.tools)
        except (ProcessFailedError, OSError, ValueError):
            pass  # whoever loads it is told
        except Exception:  # a model's files, however damaged, are that model's trouble alone
            log.exception("model.unread", backend=process.name, model=process.spec.model)
