"""``routerctl``: asks the daemon, through the client, and prints. One file a command."""

from __future__ import annotations

from importlib import import_module

import click

from .. import __version__

# A command's module is imported when the command is used: most need little, and are run often.
COMMANDS = {
    "ask": "Ask a question and stream the answer.",
    "calibrate": "Fit a classifier to your own outcomes.",
    "check": "Validate a routes.yaml.",
    "config": "Show the configuration in force: defaults filled in, and where each value is from.",
    "demo": "See it all work once: model, daemon, answer, reload.",
    "explain": "Say which backend would answer, and why; nothing is generated.",
    "init": "Write a first routes.yaml.",
    "judge": "Say which answers are refusals.",
    "models": "Show, load and unload model processes.",
    "reload": "Have the daemon read routes.yaml again.",
    "score": "Score prompts: how much each needs the strong model.",
    "selftest": "Play every known fault against a private daemon: what would your callers see?",
    "replay": "Decide recorded requests again by edited routes; nothing is generated.",
    "routes": "List the routes, and how often each was taken.",
    "status": "Show the daemon, its backends and models.",
}


class _Lazy(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = import_module(f".{name}", __name__).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):  # from the table, so that --help imports none of them
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="routerctl")
@click.option("--socket", metavar="PATH", help="The daemon's Unix socket.  [env: ROUTERD_SOCKET]")
@click.pass_context
def main(context: click.Context, socket: str | None) -> None:
    """Ask a running routerd, and see why it does what it does.

    \b
    Exit codes: 0 done; 1 the daemon refused or the request failed; 2 wrong usage or a wrong
    configuration; 3 no daemon answers.
    """
    context.obj = socket
