"""``routerctl``: asks the daemon, through the client, and prints. One file a command."""

from __future__ import annotations

import os
from importlib import import_module
from keyword import iskeyword

import click
from click.shell_completion import CompletionItem

from .. import __version__

# A command's module is imported when the command is used: most need little, and are run often.
COMMANDS = {
    "ask": "Ask a question and stream the answer.",
    "bugreport": "Pack what a bug report needs into one file.",
    "budget": "Show what was spent and what may be; correct it.",
    "calibrate": "Fit a classifier to your own outcomes.",
    "check": "Validate a routes.yaml.",
    "completion": "Print what makes a shell complete routerctl.",
    "config": "Show the configuration in force: defaults filled in, and where each value is from.",
    "crashes": "List the model processes that died.",
    "decisions": "List the newest requests: where each went and what came of it.",
    "demo": "See it all work once: model, daemon, answer, reload.",
    "doctor": "Look at everything that could be wrong, and say what to do.",
    "env": "Print what an agent needs in its environment to ask this daemon.",
    "explain": "Say which backend would answer, and why; nothing is generated.",
    "feedback": "Say how good an answer was.",
    "import": "Make a routes.yaml from another system's file.",
    "init": "Write a first routes.yaml, or set up an agent.",
    "install": "Run routerd whenever you are logged in.",
    "judge": "Say which answers are refusals.",
    "logs": "Show the daemon's log.",
    "models": "Show, load and unload model processes.",
    "reload": "Have the daemon read routes.yaml again.",
    "score": "Score prompts: how much each needs the strong model.",
    "selftest": "Play every known fault against a private daemon: what would your callers see?",
    "show": "Tell the whole story of one request.",
    "start": "Start the login agent.",
    "replay": "Decide recorded requests again by edited routes; nothing is generated.",
    "restart": "Restart the login agent, after an upgrade say.",
    "routes": "List the routes, and how often each was taken.",
    "stats": "Show how requests went, from the ledger.",
    "status": "Show the daemon, its backends and models.",
    "stop": "Stop the login agent.",
    "token": "Print the token that requests over TCP must bring.",
    "uninstall": "Stop the login agent and remove what install wrote.",
}


class _Lazy(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = f"{name}_" if iskeyword(name) else name
        command = import_module(f".{module}", __name__).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):  # from the table, so that --help imports none of them
            formatter.write_dl(sorted(COMMANDS.items()))

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name, help=text) for name, text in sorted(COMMANDS.items())]
        options = click.Command.shell_complete(self, context, incomplete)  # a group's own would import all commands
        return [*(item for item in found if item.value.startswith(incomplete)), *options]


@click.group(cls=_Lazy, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="routerctl")
@click.option("--socket", metavar="PATH", help="The daemon's Unix socket.  [env: ROUTERD_SOCKET]")
@click.pass_context
def main(context: click.Context, socket: str | None) -> None:
    """Ask a running routerd, and see why it does what it does.

    Colours are for terminals alone, and NO_COLOR switches them off there too.

    \b
    Examples:
      routerctl ask 'What is the capital of France?'
      routerctl status
      routerctl --socket ~/other/routerd.sock status

    \b
    Exit codes: 0 done; 1 the daemon refused, the request failed or something does not work;
    2 wrong usage or a wrong configuration; 3 no daemon answers; 4 doctor has warnings.
    """
    context.obj = socket
    if os.environ.get("NO_COLOR"):
        context.color = False
    if context.invoked_subcommand is None:
        from .common import daemon

        click.echo(context.get_help() + "\n")
        with daemon() as client:
            status = client.status()
        click.echo(f"routerd {status.version} answers at {status.socket}: see routerctl status")
