from __future__ import annotations

import sys

import click

from ..selftest import wall
from .common import EXIT_FAILED, EXIT_WRONG, json_option, print_json, seconds, table


@click.command()
@click.option("--only", default="", metavar="NAME", help="Only the faults whose name has this in it.")
@json_option
def command(only: str, as_json: bool) -> None:
    """Play every known fault against private daemons: what would your callers see? Needs no daemon, no model
    and no network; takes a minute.

    \b
    Examples:
      routerctl selftest
      routerctl selftest --only 429
    """
    faults = wall.chosen(only)
    if not faults:
        names = "; ".join(fault.name for fault in wall.chosen(""))
        click.echo(f"routerctl: no fault is named {only!r}; there are: {names}", err=True)
        sys.exit(EXIT_WRONG)
    report = wall.play(faults)
    if as_json:
        print_json(report)
    else:
        click.echo(text(report))
    if report.failed:
        sys.exit(EXIT_FAILED)


def text(report: wall.Report) -> str:
    """The rows as a person reads them."""
    rows = [
        {
            "fault": row.fault,
            "front": row.front,
            "mode": row.mode,
            "": "ok" if row.ok else "FAILED",
            "time": seconds(row.seconds) if row.seconds else "",
            "saw": row.saw,
        }
        for row in report.rows
    ]
    return f"{table(rows)}\n\n{len(report.rows)} rows, {report.failed} failed"
