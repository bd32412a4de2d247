from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

import click
import msgspec

from routerd_client import Client
from routerd_client.records import ChatRecord

from .common import daemon, heading, json_option, line, plain, print_json, table
from .ledger import row, since_option

PAGE = 100
WIDTHS = {
    "time": 19,
    "request": 12,
    "route": 12,
    "endpoint": 16,
    "backend": 12,
    "model": 20,
    "outcome": 12,
    "hops": 4,
    "first": 6,
    "total": 6,
    "tokens": 11,
    "cost": 9,
}
"""Columns of what is told as it comes: nobody knows then how wide they will be."""


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with new ones as they end.")
@click.option("--backend", metavar="NAME", help="Only those that this backend was asked.")
@click.option("--route", metavar="NAME", help="Only those that this route took, or '(default)' and the like.")
@click.option("--failed", is_flag=True, help="Only those that nobody answered.")
@since_option
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="So many at most.")
@json_option
def command(
    follow: bool, backend: str | None, route: str | None, failed: bool, since: float | None, limit: int, as_json: bool
) -> None:
    """List the newest requests: where each went, what came of it, how long it took and what it cost.

    With --follow and --json, one JSON object a line.

    \b
    Examples:
      routerctl decisions --failed --since 1d
      routerctl decisions -f --backend small
      routerctl decisions --json | jq '.chats[] | {request_id, backend, total_s, cost_microusd}'
    """
    wanted: dict[str, Any] = {"backend": backend, "route": route, "failed": failed, "since_s": since}
    with daemon(as_json=as_json) as client:
        newest = client.decisions(**wanted, limit=limit)
        if not follow:
            _print(newest, as_json=as_json)
            return
        if not as_json:
            click.echo(heading(WIDTHS))
        for chat in _following(client, wanted, newest):
            click.echo(msgspec.json.encode(plain(chat)) if as_json else line(row(chat), WIDTHS))


def _following(client: Client, wanted: dict[str, Any], newest: Sequence[ChatRecord]) -> Iterator[ChatRecord]:
    """The ``newest`` chats, oldest first, and then each that ends."""
    yield from reversed(newest)
    last = _place(newest[0]) if newest else (0.0, "")
    for _ in client.watch("decision"):
        if new := _after(last, _chats(client, wanted)):
            last = _place(new[0])
            yield from reversed(new)


def _after(last: tuple[float, str], newest: Iterator[ChatRecord]) -> list[ChatRecord]:
    return list(takewhile(lambda chat: _place(chat) > last, newest))


def _chats(client: Client, wanted: dict[str, Any]) -> Iterator[ChatRecord]:
    """All of them, newest first, a page at a time."""
    before = ""
    while page := client.decisions(**wanted, before=before, limit=PAGE):
        yield from page
        before = page[-1].request_id


def _place(chat: ChatRecord) -> tuple[float, str]:
    """Where it stands in the ledger's order."""
    return chat.time, chat.request_id


def _print(chats: Sequence[ChatRecord], *, as_json: bool) -> None:
    if as_json:
        print_json({"chats": chats})
    elif chats:
        click.echo(table([row(chat) for chat in chats]))
    else:
        click.echo("no such requests in the ledger")
