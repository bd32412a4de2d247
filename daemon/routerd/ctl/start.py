from __future__ import annotations

import click

from .agent import asking, chosen_places, refuse_another, said_started, until_answers


@click.command()
def command() -> None:
    """Start the login agent that `routerctl install` has set up, and wait until it answers.

    \b
    Examples:
      routerctl start
    """
    with asking() as agent:
        if refuse_another(agent) is None:
            agent.start()
        status = until_answers(agent, chosen_places())
    click.echo(said_started(status))
