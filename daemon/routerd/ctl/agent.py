"""What the commands about the login agent share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from msgspec.structs import replace

from routerd_client import Client
from routerd_client.errors import RouterdError
from routerd_client.protocol import StatusResult

from ..agent.here import manager
from ..agent.manager import AgentError, Manager
from ..config.places import Places, places
from .common import EXIT_FAILED, running

ANSWER_S = 30.0
"""How long a daemon that was just started may take to answer."""


@contextmanager
def asking() -> Iterator[Manager]:
    """The service manager of this machine; its refusals end the command."""
    try:
        yield manager()
    except AgentError as error:
        click.echo(f"routerctl: {error}", err=True)
        sys.exit(EXIT_FAILED)


def chosen_places() -> Places:
    """Where things are by the environment, and by ``--socket``."""
    socket = click.get_current_context().obj
    return replace(places(), socket=Path(socket)) if socket else places()


def refuse_another(agent: Manager) -> StatusResult | None:
    """What the agent's daemon says, if it answers. Raises `AgentError` where one answers that is not the agent's."""
    status = running(click.get_current_context())
    if status and status.pid != agent.state().pid:
        raise AgentError(
            f"a daemon that is not the login agent's answers at {status.socket}. "
            f"End it first: Ctrl-C in its terminal, or kill {status.pid}"
        )
    return status


def until_answers(agent: Manager, where: Places) -> StatusResult:
    """The status of the daemon that was just started. Raises `AgentError`, with what it said, where none comes."""
    try:
        with Client(where.socket, name="routerctl", timeout_s=ANSWER_S, start_timeout_s=ANSWER_S) as client:
            return client.status()
    except RouterdError as error:
        ended = agent.state().last_exit
        how = f"; it ended: {ended}" if ended else ""
        raise AgentError(f"it was started and does not answer{how}. {error}. See why with: routerctl logs") from error


def said_started(status: StatusResult) -> str:
    return f"routerd {status.version} runs (pid {status.pid}) and answers at {status.socket}"
