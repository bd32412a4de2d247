from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import BinaryIO

import click
import msgspec
from msgspec import Struct

from ..quality.refusal import judge
from .common import EXIT_WRONG


class Row(Struct):
    """One answer to judge."""

    id: str | int
    response: str | None
    finish_reason: str | None = None
    prompt: str = ""


@click.command()
@click.option("--stdin", is_flag=True, required=True, help="Read rows from standard input, one JSON object a line.")
def command(stdin: bool) -> None:  # noqa: ARG001 - the one place rows come from, said aloud
    """Say of each answer whether it is a refusal, as the daemon would. Needs no daemon.

    In: {"id", "response", and where known "finish_reason" and "prompt"}. Out, in the same order:
    {"id", "refusal", "confidence", "kind"}. An answer is a refusal from a confidence of 0.5 on. The kinds:
    policy, hedged, silent; incapable, which is no refusal; and "".

    \b
    Examples:
      echo '{"id": 1, "response": "I must decline."}' | routerctl judge --stdin
    """
    encoder = msgspec.json.Encoder()
    for row in _rows(sys.stdin.buffer):
        verdict = judge(row.response or "", finish_reason=row.finish_reason, prompt=row.prompt)
        told = {"id": row.id, **msgspec.structs.asdict(verdict), "confidence": round(verdict.confidence, 3)}
        sys.stdout.buffer.write(encoder.encode(told) + b"\n")


def _rows(lines: BinaryIO) -> Iterator[Row]:
    decoder = msgspec.json.Decoder(Row)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            sys.stdout.buffer.flush()
            click.echo(f'routerctl: line {number}: {error} (a row is {{"id": ..., "response": "..."}})', err=True)
            sys.exit(EXIT_WRONG)
