from __future__ import annotations

from collections.abc import Iterator

import click

from routerd_client.chat import Usage
from routerd_client.records import Attempt, ChatRecord, Compared

from ..spend.price import dollars
from .common import daemon, json_option, print_json, seconds
from .ledger import clock, quality


@click.command()
@click.argument("request_id")
@json_option
def command(request_id: str, as_json: bool) -> None:
    """Tell the whole story of one request: who asked, who was asked and why, and what came of it.

    Its id stands in routerctl decisions, in each answer, and in the log. The beginning of it is enough, where no
    other begins so.

    \b
    Examples:
      routerctl show 3f9c01d2ab44
      routerctl show 3f9c01d2ab44 --json | jq .chat.attempts
    """
    with daemon(as_json=as_json) as client:
        chat = client.show(request_id)
    if as_json:
        print_json({"chat": chat})
    else:
        click.echo("\n".join(_story(chat)))


def _story(chat: ChatRecord) -> Iterator[str]:
    yield f"request    {chat.request_id}, {chat.outcome.value} at {clock(chat.time)} after {seconds(chat.total_s)}"
    who = [f"client {chat.client}" if chat.client else "", f"session {chat.session}" if chat.session else ""]
    who += [f"priority {chat.priority}" if chat.priority else ""]
    who += [f"{key}={value}" for key, value in chat.context.items()]
    yield from _told("from", ", ".join(part for part in who if part))
    size = chat.measures
    asks = [f"{size.chars} characters, turn {size.turn}", f"{size.prompt_bytes} bytes in all"]
    asks += [word for word, holds in (("tools", size.has_tools), ("images", size.has_images)) if holds]
    yield f"asks       {', '.join(asks)}"
    yield f"goes to    {_way(chat)}"
    for candidate in chat.candidates:
        yield f"candidate  {candidate.backend}: {', '.join(candidate.reasons)}"
    for skipped in chat.skipped:
        yield f"skipped    {skipped.backend}: {skipped.reason}"
    for attempt in chat.attempts:
        yield f"attempt {attempt.number}  {_attempt(attempt)}"
    if chat.backend:
        yield f"answer     {_answer(chat)}"
    yield from _told("flaw", chat.flaw_message)
    yield from _told("error", f"{chat.code}: {chat.message}" if chat.code else "")
    if chat.compared:
        yield f"compared   {_compared(chat.compared)}"
    for said in chat.feedback:
        yield f"feedback   {said.score:g}{f', {said.note}' if said.note else ''}, at {clock(said.time)}"
    yield from _told("prompt", chat.prompt or "")
    yield from _told("text", chat.answer or "")


def _told(name: str, text: str) -> Iterator[str]:
    if text:
        yield f"{name:10} {text}"


def _way(chat: ChatRecord) -> str:
    if not chat.endpoint:
        return f"nobody: nothing was decided for {chat.asked!r}"
    named = f"named by the {chat.named}" if chat.named else f"route {chat.route}" if chat.route else "the default"
    way = f"{chat.endpoint}: {named}"
    scores = [f"{name} {value:.2f}" for name, value in chat.scores.items()]
    way += f"; complexity {', '.join(scores)}" if scores else ""
    return way + (f", {chat.tier}" if chat.tier else "") + (f", variant {chat.variant}" if chat.variant else "")


def _attempt(attempt: Attempt) -> str:
    parts = [attempt.backend, attempt.outcome.value]
    parts += [attempt.failure.value] if attempt.failure else []
    parts += [f"first after {seconds(attempt.ttft_s)}"] if attempt.ttft_s is not None else []
    parts += [f"{seconds(attempt.total_s)} in all"]
    parts += [_tokens(attempt.usage)] if attempt.usage else []
    parts += [dollars(attempt.cost_microusd)] if attempt.cost_microusd else []
    return ", ".join(parts) + (f": {attempt.message}" if attempt.message else "")


def _answer(chat: ChatRecord) -> str:
    parts = [f"{chat.backend} ({chat.model})", _tokens(chat.usage)]
    parts += [f"first after {seconds(chat.ttft_s)}"] if chat.ttft_s is not None else []
    return ", ".join([*parts, f"ended by {chat.finish}", dollars(chat.cost_microusd)])


def _tokens(usage: Usage) -> str:
    cached = f", {usage.cached_tokens} of them cached" if usage.cached_tokens else ""
    return f"{usage.prompt_tokens} + {usage.completion_tokens} tokens{cached}"


def _compared(other: Compared) -> str:
    which = "with its shadow" if other.shadow else "as the shadow of"
    return (
        f"{which} {other.request_id}: agreement {other.agreement:.0%}, quality {quality(other.quality)}, "
        f"the other's {quality(other.other_quality)}"
    )
