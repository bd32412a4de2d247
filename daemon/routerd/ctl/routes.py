from __future__ import annotations

import click

from .common import daemon, json_option, print_json, table


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List the routes in the order they are asked, and how often each was taken since the daemon started.

    A route that can never match, because an earlier one takes all that it would, says so; so does one by client
    whose client has named a model in all its requests since then, for a named model skips the routes.

    \b
    Examples:
      routerctl routes
      routerctl routes --json | jq '.routes[] | select(.hits == 0) | .name'
    """
    with daemon(as_json=as_json) as client:
        found = client.routes()
    if as_json:
        print_json(found)
        return
    rows = [
        {"route": r.name, "match": r.match, "use": r.use, "hits": str(r.hits), "note": r.never and f"never: {r.never}"}
        for r in found.routes
    ]
    click.echo(table(rows) if rows else "no routes: everything goes to the default")
    for route in found.routes:
        if route.missed:
            click.echo(f"warning: {route.name}: {route.missed}", err=True)
    click.echo(f"taken by no route: {found.default}; named a model: {found.named}")
