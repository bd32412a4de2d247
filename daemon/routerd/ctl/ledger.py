"""What the commands on the ledger share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import click

from routerd_client.records import EMBEDDING, ChatRecord

from ..spend.price import dollars
from .common import daemon, seconds, span

since_option = click.option("--since", callback=span, metavar="SPAN", help="Only the last 30m, 12h, 7d and the like.")


def recorded(since_s: float | None, *, as_json: bool = False) -> Iterator[ChatRecord]:
    """All chats in the ledger, newest first, each with all there is of it; a failure ends the command."""
    with daemon(as_json=as_json) as client:
        before = ""
        while page := client.decisions(since_s=since_s, before=before, limit=1000, whole=True):
            yield from (chat for chat in page if chat.tier != EMBEDDING)
            before = page[-1].request_id


def clock(time: float) -> str:
    """A moment by the clock on the wall."""
    return datetime.fromtimestamp(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def quality(value: float | None) -> str:
    """How good a judge found an answer."""
    return "not judged" if value is None else f"{value:.2f}"


def row(chat: ChatRecord) -> dict[str, str]:
    """One line about a chat."""
    usage = chat.usage
    outcome = (
        chat.outcome.value + (f": {chat.code}" if chat.code else "") + (f", {chat.flaw.value}" if chat.flaw else "")
    )
    default = "(default)" if chat.endpoint else ""  # without one, nothing was decided: the model is not known, say
    return {
        "time": clock(chat.time),
        "request": chat.request_id,
        "route": chat.route or (chat.named and f"({chat.named})") or default,
        "endpoint": (chat.endpoint or chat.asked) + (f" ({chat.tier})" if chat.tier else ""),
        "backend": chat.backend or chat.tried,
        "model": chat.model,
        "outcome": outcome,
        "hops": str(chat.hops) if chat.hops > 1 else "",
        "first": seconds(chat.ttft_s),
        "total": seconds(chat.total_s),
        "tokens": f"{usage.prompt_tokens}+{usage.completion_tokens}" if usage.total_tokens else "",
        "cost": dollars(chat.cost_microusd) if chat.cost_microusd else "",
    }
