"""What the commands share: a client, one way to fail, and tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from routerd_client import Client
from routerd_client.errors import DaemonUnavailableError, RequestFailedError, RouterdError
from routerd_client.protocol import Event, StatusResult

from ..config.units import parse_duration

EXIT_FAILED = 1
EXIT_WRONG = 2
EXIT_NO_DAEMON = 3
EXIT_WARNINGS = 4
EXIT_CODES = {
    0: "done",
    EXIT_FAILED: "the daemon refused, the request failed, or something does not work",
    EXIT_WRONG: "wrong usage, or a wrong configuration",
    EXIT_NO_DAEMON: "no daemon answers",
    EXIT_WARNINGS: "warnings, and nothing worse (`doctor`)",
}
STATUS_S = 2.0
"""How long a daemon may take to say what it is, where a command does as well without."""


@contextmanager
def daemon(*, as_json: bool = False) -> Iterator[Client]:
    """A client of the daemon that ``--socket`` or the environment names; its errors end the command."""
    try:
        with Client(click.get_current_context().obj, name="routerctl") as client:
            yield client
    except RouterdError as error:
        fail(error, as_json=as_json)


def running(context: click.Context) -> StatusResult | None:
    """What the daemon that ``--socket`` or the environment names says of itself; None where none answers at once."""
    # While a shell completes, the group's own function is not called and sets no object: its option says it.
    socket = context.find_root().params.get("socket")
    try:
        with Client(socket, name="routerctl", timeout_s=STATUS_S) as client:
            return client.status()
    except RouterdError:
        return None


def fail(error: RouterdError, *, as_json: bool = False) -> None:
    """Say what went wrong, as text on stderr or as ``{"error": ...}`` on stdout, and exit."""
    refused = error if isinstance(error, RequestFailedError) else None
    if as_json:
        code = refused.code.value if refused else "unavailable"
        print_json({"error": {"code": code, "message": str(error), "retryable": not refused or refused.retryable}})
    else:
        click.echo(f"routerctl: {error}", err=True)
    sys.exit(EXIT_NO_DAEMON if isinstance(error, DaemonUnavailableError) else EXIT_FAILED)


def print_json(value: Any) -> None:
    """One JSON object on stdout, its fields as the protocol names them, those with default values too.

    An event's own ``id`` says nothing to a script: it is left out.
    """
    told = plain(value)
    if isinstance(value, Event):
        del told["id"]
    click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2))


def plain(value: Any) -> Any:
    """``value`` with every struct as a dictionary of all its fields: what is left out on the wire
    to save bytes must stand in what a script reads."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def parse_context(pairs: Sequence[str]) -> dict[str, str]:
    """``("platform=cli", ...)`` as a context. Raises click's usage error for what is no ``key=value``."""
    context: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{pair!r} is not key=value", param_hint="-c")
        context[key] = value
    return context


context_option = click.option(
    "-c",
    "--context",
    multiple=True,
    metavar="KEY=VALUE",
    help="The caller's context, e.g. -c platform=cli; repeatable.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The endpoints and backends whose name begins so, for completion: none where no daemon answers."""
    status = running(context)
    known = [*status.endpoints, *(backend.name for backend in status.backends)] if status else []
    return [name for name in known if name.startswith(incomplete)]


def model_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The same of the backends that have a model process."""
    status = running(context)
    return [m.backend for m in status.models if m.backend.startswith(incomplete)] if status else []


def span(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """An option's span of time, in seconds; None where it is not given."""
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no span of time such as 30m, 12h or 7d") from error


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows under their column names, columns aligned; a column that is empty throughout is left out."""
    columns = [name for name in rows[0] if any(row[name] for row in rows)] if rows else []
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in columns}
    return "\n".join([heading(widths), *(line(row, widths) for row in rows)])


def heading(widths: Mapping[str, int]) -> str:
    """The names of columns that are so wide."""
    return line({name: name.upper() for name in widths}, widths)


def line(row: Mapping[str, str], widths: Mapping[str, int]) -> str:
    """One row of a table whose columns are so wide, without what is in no column."""
    return "  ".join(row[name].ljust(width) for name, width in widths.items()).rstrip()


def seconds(value: float | None) -> str:
    """A span for people: ``840 ms``, ``12 s``, ``14 min``, ``3.2 h``."""
    if value is None:
        return ""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 120:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def size(value: int | None) -> str:
    """Bytes for people: ``409 MB``, ``18.2 GB``."""
    if value is None:
        return ""
    return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"
