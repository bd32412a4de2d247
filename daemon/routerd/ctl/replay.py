from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from routerd_client.records import ChatRecord

from ..app.compiled import compile_file
from ..config.load import ConfigFailedError
from ..config.places import places
from ..routing.replay import Recorded, Replayed, replay
from .common import EXIT_WRONG, json_option, print_json, table
from .ledger import recorded, since_option


@click.command()
@click.argument("records", type=click.File("rb"), required=False)
@click.option("--file", type=click.Path(path_type=Path), help="The routes to decide by; the daemon's own where absent.")
@since_option
@json_option
def command(records: BinaryIO | None, file: Path | None, since: float | None, as_json: bool) -> None:
    """Decide recorded requests again, by routes you have edited, and say which would go elsewhere.

    They come from the daemon's ledger, or from RECORDS, with one JSON object a line: id, backend, and of the request
    context, model, client, prompt, chars, prompt_bytes, turn, has_tools, has_images, local_only, minute (of the day)
    and weekday (0 is Monday); that needs no daemon. Nothing is generated.

    \b
    Examples:
      routerctl replay --file edited.yaml --since 7d
      routerctl replay - --json < yesterday.jsonl | jq .moves
    """
    if records and since is not None:
        raise click.UsageError("--since narrows what the ledger has; RECORDS is taken whole")
    path = file or places().config
    try:
        compiled = compile_file(path, places().state)
    except ConfigFailedError as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_WRONG)
    if records:
        asked = [_record(line, number) for number, line in enumerate(records, 1) if line.strip()]
    else:
        asked = [_remembered(chat) for chat in recorded(since, as_json=as_json)]
    found = replay(asked, compiled.table)
    if as_json:
        print_json(found)
    else:
        click.echo(_text(found, path))


def _remembered(chat: ChatRecord) -> Recorded:
    return Recorded(
        id=chat.request_id,
        backend=chat.candidates[0].backend if chat.candidates else "nobody",
        endpoint=chat.endpoint,
        route=chat.route,
        model=chat.endpoint if chat.named == "session" else chat.asked,  # what its session chose is said by none
        client=chat.client,
        context=chat.context,
        prompt=chat.prompt,
        **msgspec.structs.asdict(chat.measures),
    )


def _record(line: bytes, number: int) -> Recorded:
    try:
        return msgspec.json.decode(line, type=Recorded)
    except msgspec.DecodeError as error:
        raise click.UsageError(f"line {number} is no recorded request: {error}") from error


def _text(found: Replayed, path: Path) -> str:
    lines = [f"{found.requests} requests by {path}: {len(found.moves)} would move, {len(found.unsure)} cannot be told"]
    if found.moves:
        lines += ["", table([{"request": m.id, "was": m.was, "now": m.now, "why": m.why} for m in found.moves])]
    names = sorted({*found.before, *found.after})
    totals = [{"backend": n, "was": str(found.before.get(n, 0)), "now": str(found.after.get(n, 0))} for n in names]
    return "\n".join([*lines, "", table(totals)])
