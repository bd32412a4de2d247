from __future__ import annotations

import click

from .common import daemon, json_option, print_json


@click.command()
@click.argument("request_id")
@click.option("--ok", is_flag=True, help="It was good.")
@click.option("--bad", is_flag=True, help="It was not.")
@click.option("--score", type=click.FloatRange(0, 1), help="Anything between, from 0 to 1.")
@click.option("--note", default="", help="Why.")
@json_option
def command(request_id: str, ok: bool, bad: bool, score: float | None, note: str, as_json: bool) -> None:
    """Say how good an answer was.

    A backend whose answers are called bad is preferred less by the strategies that learn (adaptive, headroom), the
    older the less so; routerctl calibrate learns from it too. The id stands in routerctl decisions and in each answer.

    \b
    Examples:
      routerctl feedback 3f9c01d2ab44 --ok
      routerctl feedback 3f9c01d2ab44 --score 0.3 --note 'the second half is made up'
    """
    said = [1.0] * ok + [0.0] * bad + [score] * (score is not None)
    if len(said) != 1:
        raise click.UsageError("say one of --ok, --bad and --score")
    (score,) = said
    with daemon(as_json=as_json) as client:
        client.feedback(request_id, score=score, note=note)
    if as_json:
        print_json({"request_id": request_id, "score": score, "note": note})
    else:
        click.echo(f"noted: {score:g}")
