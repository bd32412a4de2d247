from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import click

from ..config.places import places
from .common import EXIT_FAILED, running, span
from .logbook import LEVELS, Event, Tail, Wanted, decode, human, rotated

LAST = 200
POLL_S = 0.2


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what is logged from now on, until Ctrl-C.")
@click.option("--since", callback=span, metavar="SPAN", help="Only what was logged in this time: 90s, 10m, 2d.")
@click.option("--level", type=click.Choice(LEVELS[:4]), default="debug", help="Only this level and those above it.")
@click.option("--request", default="", metavar="ID", help="Only what concerns the request whose id begins so.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    help=f"The last N lines only.  [default: {LAST}; all with --since or --request]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they are in the file, one JSON object each.")
def command(follow: bool, since: float | None, level: str, request: str, lines: int | None, as_json: bool) -> None:
    """Show the daemon's log, the files that were rotated away too. Needs no daemon.

    Where none answers, the log is looked for in its usual place. Times are this machine's, in --json they are UTC.
    Prompts and answers are in it only where routes.yaml says log: {prompts: true}.

    \b
    Examples:
      routerctl logs -f
      routerctl logs --since 10m --level warning
      routerctl logs --request 3f9c0a --json | jq .event
    """
    daemon = running(click.get_current_context())
    log = Path(daemon.log_file) if daemon else places().log_file
    wanted = Wanted(time.time() - since if since is not None else 0.0, level, request)
    last = lines if lines is not None else None if since is not None or request else LAST
    if not log.exists() and not follow:
        click.echo(f"routerctl: there is no log {log}: the daemon has not run yet (routerd serve)", err=True)
        sys.exit(EXIT_FAILED)
    try:
        with Tail(log) as tail:
            found = _taken(chain(rotated(log, wanted.since), tail.news()), wanted)
            _print(found if last is None else deque(found, last), as_json=as_json)
            while follow:
                time.sleep(POLL_S)
                _print(_taken(tail.news(), wanted), as_json=as_json)
    except BrokenPipeError:
        raise  # whoever reads has seen enough, which click knows about
    except OSError as error:
        click.echo(f"routerctl: the log cannot be read: {error}", err=True)
        sys.exit(EXIT_FAILED)


def _taken(lines: Iterable[bytes], wanted: Wanted) -> Iterator[tuple[bytes, Event]]:
    for line in lines:
        event = decode(line)
        if event is not None and wanted.takes(event):
            yield line, event


def _print(taken: Iterable[tuple[bytes, Event]], *, as_json: bool) -> None:
    for line, event in taken:
        click.echo(line.decode().rstrip("\n") if as_json else human(event))
