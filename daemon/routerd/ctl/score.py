from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NoReturn

import click
import msgspec
from msgspec import Struct

from ..config.places import places
from ..routing.classify.complexity import complexity
from ..routing.classify.keywords import Keywords, keyword_score
from ..routing.classify.learned import BadModelError, decode
from .calibrate import FILES
from .common import EXIT_WRONG

NAMES = ["rules", "keywords", "learned", "judge", "length"]
UNDECIDED = 5.0
"""The score where keywords abstain: between those that say simple and those that say heavy."""

Scorer = Callable[["Asked"], float]


class Asked(Struct, frozen=True):
    """One line of the input. ``weak_answer`` is what a judge reads."""

    id: str | int
    prompt: str
    weak_answer: str | None = None


@click.command()
@click.argument("file", required=False, type=click.File("rb"))
@click.option("--stdin", is_flag=True, help="Read the rows from standard input instead of FILE.")
@click.option("--classifier", type=click.Choice(NAMES), required=True, help="What scores.")
@click.option("--model", type=click.Path(path_type=Path), help="A file of calibrate, in place of the state folder's.")
def command(file: BinaryIO | None, stdin: bool, classifier: str, model: Path | None) -> None:
    """Score prompts: JSON lines {"id", "prompt"} in, {"id", "score"} out; higher needs the strong model more.

    'judge' also reads each row's "weak_answer". 'learned' and 'judge' are made by routerctl calibrate. Needs
    no daemon.

    \b
    Examples:
      routerctl score --stdin --classifier rules < prompts.jsonl
      routerctl score prompts.jsonl --classifier learned --model mine.msgpack
    """
    if stdin == (file is not None):
        raise click.UsageError("give either FILE or --stdin")
    score = _scorer(classifier, model)
    name, rows = (file.name, file) if file else ("standard input", sys.stdin.buffer)
    for number, line in enumerate(rows, 1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=Asked)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _wrong(f"{name}:{number}: {error}")
        if classifier == "judge" and row.weak_answer is None:
            _wrong(f'{name}:{number}: a judge needs "weak_answer", what the weak model answered')
        click.echo(msgspec.json.encode({"id": row.id, "score": score(row)}))


def _scorer(name: str, model: Path | None) -> Scorer:
    if name == "rules":
        return lambda row: complexity(row.prompt).value
    if name == "length":
        return lambda row: float(len(row.prompt))
    if name == "keywords":
        return _by_keywords()
    path = model or places().state / FILES[name]
    try:
        loaded = decode(path.read_bytes())
    except OSError:
        _wrong(f"there is no model {path}: make one with routerctl calibrate FILE --by {name}")
    except BadModelError as error:
        _wrong(f"{path}: {error}")
    if loaded.by != name:
        _wrong(f"{path} is calibrated for '{loaded.by}', not for '{name}'")
    return lambda row: loaded.score(row.prompt, row.weak_answer or "")


def _by_keywords() -> Scorer:
    keywords = Keywords()

    def score(row: Asked) -> float:
        found = keyword_score(keywords.match(row.prompt))
        return found.value if found.fired else UNDECIDED

    return score


def _wrong(message: str) -> NoReturn:
    click.echo(f"routerctl: {message}", err=True)
    sys.exit(EXIT_WRONG)
