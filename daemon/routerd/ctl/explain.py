from __future__ import annotations

import click

from .common import context_option, daemon, json_option, names, parse_context, print_json


@click.command()
@click.argument("prompt")
@click.option(
    "--model",
    default="",
    shell_complete=names,
    help="Ask for this endpoint or backend instead of going through the routes.",
)
@context_option
@json_option
def command(prompt: str, model: str, context: tuple[str, ...], as_json: bool) -> None:
    """Say which backend would answer PROMPT now, and why. Nothing is generated or recorded.

    \b
    Examples:
      routerctl explain 'What time is it?' -c platform=discord -c source_kind=stranger
      routerctl explain 'Plan a week' -c task=plan --json | jq .trace
    """
    with daemon(as_json=as_json) as client:
        decision = client.route(prompt, model=model, context=parse_context(context), trace=True)
    if as_json:
        print_json(decision)
    else:
        click.echo("\n".join(decision.trace))
