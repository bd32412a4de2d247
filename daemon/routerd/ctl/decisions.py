from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

import click
import msgspec

from routerd_client import Client
from routerd_client.records import ChatRecord

from .common import daemon, json_option, plain, print_json, table
from .ledger import row, since_option

PAGE = 100


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with new ones as they end.")
@click.option("--backend", metavar="NAME", help="Only those that this backend was asked.")
@click.option("--route", metavar="NAME", help="Only those that this route took.")
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
        if follow:
            for chat in _following(client, wanted, limit):
                line = msgspec.json.encode(plain(chat)).decode() if as_json else _line(chat)
                click.echo(line)
        else:
            _print(client.decisions(**wanted, limit=limit), as_json=as_json)


def _following(client: Client, wanted: dict[str, Any], limit: int) -> Iterator[ChatRecord]:
    """The newest chats, oldest first, and then each that ends."""
    newest = client.decisions(**wanted, limit=limit)
    yield from reversed(newest)
    known = {chat.request_id for chat in newest}
    for _ in client.watch("decision"):
        newest = client.decisions(**wanted, limit=PAGE)
        yield from reversed(_before(newest, known))
        known = {chat.request_id for chat in newest}


def _before(chats: Sequence[ChatRecord], known: set[str]) -> list[ChatRecord]:
    return list(takewhile(lambda chat: chat.request_id not in known, chats))


def _print(chats: Sequence[ChatRecord], *, as_json: bool) -> None:
    if as_json:
        print_json({"chats": chats})
    elif chats:
        click.echo(table([row(chat) for chat in chats]))
    else:
        click.echo("no such requests in the ledger")


def _line(chat: ChatRecord) -> str:
    return "  ".join(value for value in row(chat).values() if value)
