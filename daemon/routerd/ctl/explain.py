from __future__ import annotations

import click

from routerd_client.chat import FunctionSpec, ImagePart, ImageURL, Message, TextPart, Tool

from .common import context_option, daemon, json_option, names, parse_context, print_json

_TOOL = Tool(function=FunctionSpec(name="example"))
_IMAGE = "data:image/png;base64,iVBORw0KGgo="


@click.command()
@click.argument("prompt")
@click.option(
    "--model",
    default="",
    shell_complete=names,
    help="Ask for this endpoint or backend instead of going through the routes.",
)
@click.option("--tools", is_flag=True, help="As if the request offered tools.")
@click.option("--image", is_flag=True, help="As if the prompt came with an image.")
@click.option(
    "--client",
    "name",
    default="",
    metavar="NAME",
    help="As if this client asked, e.g. claude-code; default: routerctl.",
)
@context_option
@json_option
def command(
    prompt: str, model: str, tools: bool, image: bool, name: str, context: tuple[str, ...], as_json: bool
) -> None:
    """Say which backend would answer PROMPT now, and why. Nothing is generated or recorded.

    \b
    Examples:
      routerctl explain 'What time is it?' -c platform=discord -c source_kind=stranger
      routerctl explain 'Fix the tests' --tools --client claude-code
      routerctl explain 'Plan a week' -c task=plan --json | jq .trace
    """
    with daemon(as_json=as_json) as client:
        decision = client.route(
            [_with_image(prompt)] if image else prompt,
            model=model,
            tools=[_TOOL] if tools else [],
            context=parse_context(context),
            trace=True,
            client=name,
        )
    if as_json:
        print_json(decision)
    else:
        click.echo("\n".join(decision.trace))


def _with_image(prompt: str) -> Message:
    return Message(role="user", content=[TextPart(prompt), ImagePart(ImageURL(_IMAGE))])
