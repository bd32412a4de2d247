"""What the commands that set agents up share: this machine's daemon as a `Setup`, and what routes.yaml lacks for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import click
from msgspec import Struct
from msgspec.structs import replace

from routerd_client.paths import default_socket

from ..config.front import parse_listen
from ..config.load import load
from ..config.places import Places, places
from ..config.schema import ConfigSpec
from ..config.strategy import EndpointSpec
from ..gateway.token import FILE, Token
from ..harness.reach import supports_tools, toolless
from ..harness.roles import assign, context_of, doubtful, lacking, names
from ..harness.setup import ROUTED, Edit, Harness, Setup
from ..harness.table import HARNESSES
from ..models.chat_template import shows_tools
from ..models.demo import DEMO
from ..models.errors import ModelError
from ..models.reference import Kind, ModelReference, resolve
from ..models.size import read_context
from .common import parse_context

LISTEN = "127.0.0.1:8765"

role_option = click.option(
    "--role",
    "chosen",
    multiple=True,
    metavar="ROLE=NAME",
    help="What to ask for in a role: an endpoint, a backend, or routed, which leaves it to the routes; repeatable.",
)
tcp_option = click.option("--tcp", is_flag=True, help="Over TCP, where the agent could use the daemon's Unix socket.")


class Plan(Struct, frozen=True):
    """How an agent is set up. ``routes`` is what routes.yaml has to get for it."""

    harness: Harness
    setup: Setup
    routes: Edit
    doubtful: dict[str, int | None]
    """Names whose contexts, in tokens, are too short for the agent, or not known."""
    toolless: dict[str, list[str]]
    """Names behind which no backend supports tools, and the roles that offer tools to them."""


def plan(name: str, path: Path, text: str, chosen: Sequence[str], *, tcp: bool, as_is: bool = False) -> Plan:
    """The agent ``name`` with the routes.yaml ``text`` of ``path``, and with endpoints that this lacks for it, unless
    it stays ``as_is``. Makes the token where there is none.

    Raises ConfigFailedError where the file has mistakes, and click's usage error for a role that is wrong.
    """
    harness, here, given = HARNESSES[name], places(), parse_context(chosen)
    loaded = load(text, str(path), os.environ)
    # a default that another system's block makes is not this file's to build on
    added = [] if as_is or ("default",) in loaded.origins else lacking(harness, loaded.config, given)
    endpoints = dict.fromkeys(added, EndpointSpec(fallback=(loaded.config.default,)))
    config = replace(loaded.config, endpoints={**loaded.config.endpoints, **endpoints})
    try:
        roles = assign(harness, config, given)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--role") from error
    of_model = partial(_context, path=path, here=here)
    tools_of = cache(partial(_tools, path=path, here=here))
    setup = _setup(config, roles, here, of_model, tcp=tcp or not harness.unix)
    without = {use for use in setup.offered if supports_tools(config, use, tools_of, client=name) is False}
    setup = replace(setup, without_tools=frozenset(without))
    patch = _missing(harness, setup, config)
    if added:
        patch["endpoints"] = {name: {"fallback": [config.default]} for name in added}
    routes = Edit(path=path, format="yaml", patch=patch, by="name")
    lacks_tools = toolless(harness, name, config, roles, tools_of)
    return Plan(harness, setup, routes, doubtful(harness, config, roles, of_model), lacks_tools)


def warn_toolless(name: str, made: Plan) -> None:
    """Print a warning for each name from which the agent will get no answer to a request with tools."""
    for use, roles in made.toolless.items():
        click.echo(
            f"routerctl: {name} offers tools with its requests, and no backend of '{use}' ({', '.join(roles)}) supports"
            " tools: each of these requests will fail with 'does not support tools'. Give it a backend whose model"
            " has a format for tool calls (docs/models.md lists them), or choose another name with --role",
            err=True,
        )


def _setup(
    config: ConfigSpec, roles: dict[str, str], here: Places, of_model: Callable[[str], int | None], *, tcp: bool
) -> Setup:
    known = (ROUTED, *roles.values(), *names(config))
    contexts = {name: context_of(config, name, of_model) for name in dict.fromkeys(known)}
    socket = click.get_current_context().obj
    return Setup(
        url=_url(config.http.listen if config.http else LISTEN) if tcp else "",
        socket=(Path(socket) if socket else default_socket()).absolute(),
        token=Token(here.state)() if tcp else "",
        token_file=here.state / FILE,
        roles=roles,
        names=names(config),
        contexts={name: context for name, context in contexts.items() if context},
        home=Path.home(),
        environ=os.environ,
    )


def _url(listen: str) -> str:
    host, port = parse_listen(listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - the agent is on this machine
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _missing(harness: Harness, setup: Setup, config: ConfigSpec) -> dict[str, Any]:
    """What routes.yaml has not; what it has stays as it is."""
    patch = harness.routes(setup) if harness.routes else {}
    if aliases := {name: use for name, use in patch.pop("aliases", {}).items() if name not in config.aliases}:
        patch["aliases"] = aliases
    return {**patch, **({"http": {"listen": LISTEN}} if setup.url and not config.http else {})}


def _context(model: str, path: Path, here: Places) -> int | None:
    """A local model's own context, where it is on this machine or the demo."""
    try:
        reference = ModelReference.parse(model, path.parent)
        if folder := resolve(reference, here.cache):
            return read_context(folder)
        return DEMO.context if reference.kind is Kind.DEMO else None
    except (ModelError, OSError, ValueError):
        return None


def _tools(model: str, path: Path, here: Places) -> bool | None:
    """Return whether a local model supports tools, where it is on this machine or the demo; else None."""
    try:
        reference = ModelReference.parse(model, path.parent)
        if folder := resolve(reference, here.cache):
            return shows_tools(folder)
        return DEMO.tools if reference.kind is Kind.DEMO else None
    except (ModelError, OSError, ValueError):
        return None
