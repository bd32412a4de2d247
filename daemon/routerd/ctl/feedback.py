from __future__ import annotations

import click

from .common import daemon


@click.command()
@click.argument("request_id")
@click.option("--ok", "score", flag_value=1.0, type=float, help="It was good.")
@click.option("--bad", "score", flag_value=0.0, type=float, help="It was not.")
@click.option("--score", type=click.FloatRange(0, 1), help="Anything between, from 0 to 1.")
@click.option("--note", default="", help="Why.")
def command(request_id: str, score: float | None, note: str) -> None:
    """Say how good an answer was.

    A backend whose answers are called bad is preferred less by the strategies that learn (adaptive, headroom), the
    older the less so; routerctl calibrate learns from it too. The id stands in routerctl decisions and in each answer.

    \b
    Examples:
      routerctl feedback 3f9c01d2ab44 --ok
      routerctl feedback 3f9c01d2ab44 --score 0.3 --note 'the second half is made up'
    """
    if score is None:
        raise click.UsageError("say --ok, --bad or --score")
    with daemon() as client:
        client.feedback(request_id, score=score, note=note)
    click.echo(f"noted: {score:g}")
