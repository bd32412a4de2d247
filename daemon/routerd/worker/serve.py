"""From a folder to a serving engine: load, warm up, say so, serve."""

from __future__ import annotations

import socket
import sys
import time
from argparse import Namespace
from typing import TYPE_CHECKING

from ..models.errors import BrokenModelError
from ..models.folder import check_folder
from ..wire import LoadFailed, Loading, Ready
from .pipe import Inbox, Outbox, start_reader
from .printed import Printed, reading_prints

if TYPE_CHECKING:
    from .engine import Engine
    from .lm import Model

LOAD_FAILED = 3
"""The exit code of a worker that cannot use its model."""


def serve(arguments: Namespace) -> None:
    """Run the worker on ``arguments.fd``. Never returns: it ends with the socket, or with `Stop`.

    Exits with `LOAD_FAILED` after a `LoadFailed` where the model cannot be loaded.
    """
    sock = socket.socket(fileno=arguments.fd)
    inbox, outbox = Inbox(), Outbox(sock)
    # Before the slow imports: the daemon may give up on this load at any time.
    start_reader(sock, inbox)
    try:
        with reading_prints() as printed:
            engine = _load(arguments, inbox, outbox, printed)
    except BrokenModelError as exc:
        outbox.send(LoadFailed(message=str(exc), hint=exc.hint, permanent=exc.permanent))
        outbox.flush()
        sys.exit(LOAD_FAILED)
    engine.run()


def _load(arguments: Namespace, inbox: Inbox, outbox: Outbox, printed: Printed) -> Engine:
    started = time.monotonic()
    check_folder(arguments.model)
    outbox.send(Loading(phase="import", fraction=0.0))
    from . import lm  # seconds, and the folder may be refused without

    try:
        outbox.send(Loading(phase="weights", fraction=0.0))
        model = lm.load(
            arguments.model, lambda done: outbox.send(Loading(phase="weights", fraction=done)), arguments.adapter
        )
        model.share = lm.Share(arguments.memory, arguments.buffers or lm.CACHE_LIMIT)
        model.context = min(model.context, arguments.context or model.context)
        engine = _warm_engine(model, arguments, inbox, outbox)
    except BrokenModelError:
        raise
    except SystemExit as exc:  # mlx-lm's way of saying that an architecture needs another package
        raise gave_up(exc, printed.text) from exc
    except Exception as exc:  # mlx_lm, transformers and mlx raise what they like at a model they cannot take
        raise explain(exc) from exc
    outbox.send(_ready(model, engine, time.monotonic() - started))
    return engine


def _warm_engine(model: Model, arguments: Namespace, inbox: Inbox, outbox: Outbox) -> Engine:
    from .batch import Limits
    from .engine import Engine
    from .sampling import Samplers

    outbox.send(Loading(phase="warmup", fraction=0.0))
    engine = Engine(
        model,
        inbox,
        outbox,
        samplers=Samplers(model.defaults),
        max_tokens=arguments.max_tokens,
        limits=Limits(arguments.concurrency, arguments.kv_pool, arguments.prompt_cache),
    )
    engine.warm_up()
    return engine


def _ready(model: Model, engine: Engine, load_s: float) -> Ready:
    from .lm import versions

    return Ready(
        context=engine.longest,
        vocab=model.vocab,
        load_s=load_s,
        tools=model.tools,
        reasoning=model.reasoning,
        versions=versions(),
        memory=engine.memory(),
        alone=engine.alone,
        template_words=model.template_words,
    )


def gave_up(exc: SystemExit, printed: str) -> BrokenModelError:
    """``exc``, raised by a library that had ``printed`` why."""
    reason = exc.code if isinstance(exc.code, str) else printed
    return BrokenModelError(
        f"the model cannot be loaded: {reason or 'mlx-lm gave up on it without a reason'}",
        hint=f"mlx-lm wants something that {sys.executable} has not: install it there, or use another model",
    )


def explain(exc: Exception) -> BrokenModelError:
    """``exc`` in words for whoever chose the model."""
    text = " ".join(str(exc).split())[:500] or type(exc).__name__
    if "not supported" in text:
        return BrokenModelError(text, hint="this version of mlx-lm does not know the architecture; try a newer one")
    return BrokenModelError(
        f"the model cannot be loaded: {text}",
        hint="its files do not fit each other, or need more memory than there is; download it again",
        permanent=not (isinstance(exc, MemoryError) or "allocate" in text),
    )
