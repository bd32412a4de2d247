from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete routerctl's commands, options, and the names of endpoints and backends.

    For bash it has to be 4.4 or newer (macOS brings 3.2). Names are asked of the daemon, where one answers.

    \b
    Examples:
      routerctl completion bash > ~/.local/share/bash-completion/completions/routerctl
      routerctl completion zsh > ~/.zfunc/_routerctl
      routerctl completion fish > ~/.config/fish/completions/routerctl.fish
    """
    kind = get_completion_class(shell)
    assert kind, "click knows all of SHELLS"
    click.echo(kind(context.find_root().command, {}, "routerctl", "_ROUTERCTL_COMPLETE").source())
