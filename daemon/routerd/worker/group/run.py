"""From hosts to a serving group: start the ranks, prove that they answer, say so, serve."""

from __future__ import annotations

import sys
import time
from argparse import Namespace

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from ...models.errors import BrokenModelError
from ...models.folder import check_folder
from ...wire import LoadFailed, Loading, Ready
from .. import lm
from ..lm import Model
from ..pipe import Inbox, Outbox
from ..printed import reading_prints
from ..serve import explain, gave_up
from .desk import Desk, group_memory
from .hosts import locate
from .ranks import Ranks, free_ports
from .server import CutError, RefusedError, Server

POLL_S = 0.05


async def run(arguments: Namespace, inbox: Inbox, outbox: Outbox) -> LoadFailed | None:
    """Serve until a rank is lost; why the group cannot be started, where it cannot."""
    async with anyio.create_task_group() as tasks:
        try:
            ranks, desk = await _load(arguments, outbox, tasks)
        except BrokenModelError as exc:
            tasks.cancel_scope.cancel()
            return LoadFailed(message=str(exc), hint=exc.hint, permanent=exc.permanent)
        tasks.start_soon(desk.run, inbox)
        await _any(tasks, ranks.gone, desk.lost)
        print(await ranks.epitaph(), file=sys.stderr)
        tasks.cancel_scope.cancel()
    return None


async def _load(arguments: Namespace, outbox: Outbox, tasks: TaskGroup) -> tuple[Ranks, Desk]:
    started = time.monotonic()
    outbox.send(Loading(phase="import", fraction=0.0))
    check_folder(arguments.model)
    hosts = await to_thread.run_sync(locate, arguments.hosts)
    port = free_ports(1 + len(hosts))
    ranks, server = await Ranks.start(arguments, hosts, port), Server(port)
    tasks.start_soon(ranks.watch)
    # Both take seconds: the ranks begin meanwhile.
    model = await to_thread.run_sync(_outline, arguments)
    await _first_token(arguments, ranks, server, outbox)
    outbox.send(_ready(model, time.monotonic() - started))
    return ranks, Desk(
        model,
        server,
        outbox,
        max_tokens=arguments.max_tokens,
        kv_tokens=arguments.kv_tokens,
        quiet_after=arguments.quiet_after,
    )


def _outline(arguments: Namespace) -> Model:
    try:
        with reading_prints() as printed:
            model = lm.outline(arguments.model)
    except BrokenModelError:
        raise
    except SystemExit as exc:
        raise gave_up(exc, printed.text) from exc
    except Exception as exc:  # mlx_lm, transformers and mlx raise what they like at a model they cannot take
        raise explain(exc) from exc
    if reason := lm.indivisible(model, len(arguments.hosts)):
        hint = "take hosts away, or choose another model"
        raise BrokenModelError(f"the model cannot be divided over several machines: {reason}", hint=hint)
    model.context = min(model.context, arguments.context or model.context)
    return model


async def _first_token(arguments: Namespace, ranks: Ranks, server: Server, outbox: Outbox) -> None:
    """Wait until the ranks have produced a token: their server says that it is well before it has a model."""
    while not await server.listens():
        if ranks.gone.is_set():
            raise await _failed(arguments, ranks)
        await anyio.sleep(POLL_S)
    outbox.send(Loading(phase="weights", fraction=0.0))
    try:
        await server.first_token()
    except (CutError, RefusedError) as exc:
        raise await _failed(arguments, ranks) from exc


async def _failed(arguments: Namespace, ranks: Ranks) -> BrokenModelError:
    return BrokenModelError(
        f"the model could not be started on {', '.join(arguments.hosts)}: {await ranks.epitaph()}",
        hint=f"each machine needs ssh without a password, {sys.executable} with mlx-lm, and {arguments.model}",
        permanent=False,
    )


def _ready(model: Model, load_s: float) -> Ready:
    return Ready(
        context=model.context,
        vocab=model.vocab,
        load_s=load_s,
        tools=bool(model.tokenizer.has_tool_calling),  # the server reads calls as mlx-lm does
        reasoning=model.reasoning,
        versions=lm.versions(),
        memory=group_memory(),
    )


async def _any(tasks: TaskGroup, *events: anyio.Event) -> None:
    """Wait until one of ``events`` is set."""
    one = anyio.Event()

    async def wait(event: anyio.Event) -> None:
        await event.wait()
        one.set()

    for event in events:
        tasks.start_soon(wait, event)
    await one.wait()
