from __future__ import annotations

from collections.abc import Iterator

import click

from routerd_client.records import Attempt, ChatRecord

from ..spend.price import dollars
from .common import daemon, json_option, print_json, seconds
from .ledger import clock


@click.command()
@click.argument("request_id")
@json_option
def command(request_id: str, as_json: bool) -> None:
    """Tell the whole story of one request: who asked, who was asked and why, and what came of it.

    Its id stands in routerctl decisions, in each answer, and in the log.

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
    return way + (f"; complexity {', '.join(scores)}" if scores else "") + (f", {chat.tier}" if chat.tier else "")


def _attempt(attempt: Attempt) -> str:
    parts = [attempt.backend, attempt.outcome.value]
    parts += [attempt.failure.value] if attempt.failure else []
    parts += [f"first after {seconds(attempt.ttft_s)}"] if attempt.ttft_s is not None else []
    parts += [f"{seconds(attempt.total_s)} in all"]
    parts += [dollars(attempt.cost_microusd)] if attempt.cost_microusd else []
    return ", ".join(parts) + (f": {attempt.message}" if attempt.message else "")


def _answer(chat: ChatRecord) -> str:
    usage = chat.usage
    parts = [f"{chat.backend} ({chat.model})", f"{usage.prompt_tokens} + {usage.completion_tokens} tokens"]
    parts += [f"{usage.cached_tokens} of them cached"] if usage.cached_tokens else []
    parts += [f"first after {seconds(chat.ttft_s)}"] if chat.ttft_s is not None else []
    return ", ".join([*parts, f"ended by {chat.finish}", dollars(chat.cost_microusd)])
