from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from ..config.effective import effective, origin
from ..config.load import ConfigFailedError, Loaded, load_file
from ..config.places import places
from ..config.yamltree import resolve
from .common import EXIT_WRONG, json_option, print_json

_PLAIN = re.compile(r"[\w./~][\w./*@+~-]*(:[\w./*@+~-]+)*", re.ASCII)
_WIDEST = 72


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--origins", is_flag=True, help="Say of each value where it is from.")
@json_option
def command(file: Path | None, origins: bool, as_json: bool) -> None:
    """Show the configuration in force: FILE, or the routes.yaml that the daemon would use, with every default
    filled in and what other systems' blocks and TIER_* variables (of this terminal) made of it.

    Secrets are never shown. Needs no daemon.

    \b
    Examples:
      routerctl config
      routerctl config --origins | grep -v default
      routerctl config ./routes.yaml --json | jq .config.backends
    """
    path = file or places().config
    try:
        loaded = load_file(path)
    except ConfigFailedError as error:
        click.echo("\n".join(map(str, error.errors)), err=True)
        sys.exit(EXIT_WRONG)
    shown = effective(loaded.config)
    if as_json:
        told = {".".join(at): origin(loaded, at, path.name) for at in _leaves(shown)} if origins else {}
        print_json({"file": str(path), "config": shown, **({"origins": told} if origins else {})})
    else:
        click.echo(_text(shown, loaded, path.name if origins else ""))


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if _is_leaf(value):
        yield path
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(item, (*path, str(key)))


def _is_leaf(value: Any) -> bool:
    """Whether it stands on one line: a scalar, a list of them, or an empty block."""
    return (
        not value or not isinstance(value, dict | list) or (isinstance(value, list) and not any(map(_is_block, value)))
    )


def _is_block(value: Any) -> bool:
    return isinstance(value, dict | list)


def _text(shown: dict[str, Any], loaded: Loaded, file: str) -> str:
    lines = list(_lines(shown))
    if not file:
        return "\n".join(line for line, _ in lines)
    width = min(max(len(line) for line, _ in lines), _WIDEST)
    told = [(line, origin(loaded, path, file) if path else "") for line, path in lines]
    return "\n".join(f"{line:<{width}}  # {where}" if where else line for line, where in told)


def _lines(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The lines of ``value`` as YAML; with each that holds a value, its path."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            at = (*path, str(index))
            lines = [(_scalar(item), at)] if _is_leaf(item) else list(_lines(item, at))
            for number, (line, where) in enumerate(lines):
                yield ("  " if number else "- ") + line, where
        return
    for key, item in value.items():
        at = (*path, key)
        if _is_leaf(item):
            yield f"{_scalar(key)}: {_scalar(item)}", at
            continue
        yield f"{_scalar(key)}:", ()
        for line, where in _lines(item, at):
            yield f"  {line}", where


def _scalar(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_scalar, value))}]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and isinstance(resolve(value), str):
        return value
    return msgspec.json.encode(value).decode()
