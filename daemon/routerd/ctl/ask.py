from __future__ import annotations

import sys
from typing import Any

import click

from routerd_client import Client, Delta, Done, Progress, Routed

from .common import context_option, daemon, json_option, names, parse_context, print_json
from .progress import ProgressLine


@click.command()
@click.argument("prompt")
@click.option("--model", default="", shell_complete=names, help="An endpoint or backend; without it the routes decide.")
@click.option("--system", default="", help="A system message before the prompt.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Cap on the answer.")
@click.option("--temperature", type=click.FloatRange(min=0), help="0 always takes the likeliest token.")
@context_option
@json_option
def command(prompt: str, model: str, context: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Ask PROMPT ('-' reads it from stdin) and stream the answer.

    The answer goes to stdout, everything about it to stderr. Ctrl-C stops the generation.

    \b
    Examples:
      routerctl ask 'What is the capital of France?'
      git diff | routerctl ask - --system 'Review this diff.' -c task=review --json
    """
    text = sys.stdin.read() if prompt == "-" else prompt
    asked = {name: value for name, value in options.items() if value not in (None, "")}
    asked |= {"model": model, "context": parse_context(context)}
    with daemon(as_json=as_json) as client:
        if as_json:
            print_json(client.chat(text, **asked))
        else:
            _stream(client, text, asked)


def _stream(client: Client, text: str, options: dict[str, Any]) -> None:
    progress = ProgressLine()
    written = ""
    try:
        for event in client.stream(text, **options):
            match event:
                case Routed():
                    progress.note(f"[{event.backend} ({event.model}): {', '.join(event.reasons)}]")
                case Progress():
                    progress.show(event.phase, event.fraction)
                case Delta():
                    progress.clear()
                    click.echo(event.text, nl=False)
                    written = event.text or written
                case Done():
                    done = event
                    if event.refusal and not written:
                        click.echo(event.refusal)
    finally:
        progress.clear()
        if written and not written.endswith("\n"):
            click.echo()  # what comes next, an error or the prompt, belongs on a line of its own
    click.echo(f"[{summary(done)}]", err=True)


def summary(done: Done) -> str:
    """One line about an answer: who, how many tokens, how fast, and how it ended if not by itself."""
    parts = [done.backend, f"{done.usage.prompt_tokens} + {done.usage.completion_tokens} tokens"]
    if done.tokens_per_second:
        parts.append(f"{done.tokens_per_second:.1f} tokens/s")
    if done.ttft_s is not None:
        parts.append(f"first after {done.ttft_s:.2f} s")
    if done.finish_reason.value != "stop":
        parts.append(f"ended by {done.finish_reason.value}")
    parts.append(f"request {done.request_id}")
    return ", ".join(parts)
