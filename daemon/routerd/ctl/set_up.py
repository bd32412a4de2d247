"""``routerctl init --harness``: an agent's own files, and what routes.yaml lacks for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ..config.load import ConfigFailedError, load
from ..harness.merge import CannotEditError, edited
from ..harness.roles import asked_at_length
from ..harness.setup import ROUTED, Edit
from .agents import Plan, plan, warn_toolless
from .common import EXIT_FAILED, EXIT_WRONG
from .rewrite import read, rewrite


def set_up(name: str, path: Path, first: str, chosen: Sequence[str], *, tcp: bool, write: bool) -> None:
    """Print what the agent ``name`` is configured with, or ``write`` it. ``first`` is the text of routes.yaml, at
    ``path``, where there is none yet. Ends the command where a file cannot be read or changed."""
    try:
        old = read(path)
        made = plan(name, path, old or first, chosen, tcp=tcp)
        _say_doubtful(name, made, write=write)
        routes = edited(made.routes, old or first) if made.routes.patch else old or first
        load(routes, str(path), os.environ)
        edits = made.harness.edits(made.setup) if made.harness.edits else []
        if write:
            said = _written(made.setup.token, [*_texts(edits), (path, old, routes)])
        else:
            said = _shown(made, edits, path, "" if old else routes)
    except (CannotEditError, OSError, UnicodeDecodeError) as error:
        click.echo(f"routerctl: {error}", err=True)
        sys.exit(EXIT_FAILED)
    except ConfigFailedError as error:
        click.echo("\n".join(map(str, error.errors)), err=True)
        sys.exit(EXIT_WRONG)
    click.echo("\n".join(said))
    warn_toolless(name, made)  # after the files, which may be long
    _say_next(made, name, write=write)


def _texts(edits: list[Edit]) -> list[tuple[Path, str, str]]:
    """Each file, its text, and what it is to be. All are made before the first is written."""
    return [(edit.path, old, edited(edit, old)) for edit in edits for old in (read(edit.path),)]


def _written(token: str, texts: list[tuple[Path, str, str]]) -> list[str]:
    """Write them, and return what is to be said of each. Nothing is printed before the last is there: a pipe that
    nobody reads any more would leave the agent half set up."""
    said: list[str] = []
    try:
        for path, old, new in texts:
            said.append(rewrite(path, old, new, private=bool(token) and token in new))
    except OSError:
        for one in said:
            click.echo(one)
        raise
    return said


def _shown(made: Plan, edits: list[Edit], path: Path, routes: str) -> list[str]:
    """The files as they would be without what is in them already; of routes.yaml what it lacks, or all of it."""
    said = [f"# {edit.path}\n{edited(edit, '')}" for edit in edits]
    if made.harness.environment and not edits:
        variables = made.harness.environment(made.setup)
        said.append("# environment\n" + "\n".join(f"{key}={value}" for key, value in variables.items()) + "\n")
    if routes or made.routes.patch:
        said.append(f"# {path}\n{routes or edited(made.routes, '')}")
    return said


def _say_doubtful(name: str, made: Plan, *, write: bool) -> None:
    least = made.harness.min_context
    asked = asked_at_length(made.harness, made.setup.roles)
    for use, context in made.doubtful.items():
        if context is None:
            what = "has one that is not known: give its backend 'context', or pull its model and ask again"
        else:
            what = f"has {context} at most: give one of its backends more ('context', and 'kv_tokens' of a local one)"
            what += ", or another model, or choose another name with --role"
        who = f"'{use}' ({', '.join(asked[use])})"
        click.echo(f"routerctl: {name} refuses models under {least} tokens of context, and {who} {what}", err=True)
    if write and any(context is not None for context in made.doubtful.values()):
        click.echo("routerctl: nothing was written", err=True)
        sys.exit(EXIT_FAILED)


def _say_next(made: Plan, name: str, *, write: bool) -> None:
    roles = ", ".join(f"{role} {use}" for role, use in made.setup.roles.items())
    click.echo(f"{made.harness.about}: {roles or 'any model'}", err=True)
    named = {role: use for role, use in made.setup.roles.items() if use != ROUTED and not made.harness.free}
    if named:
        click.echo(
            "these name an endpoint or a backend, and so skip the routes (match: {client: ...} too): "
            f"{', '.join(map(' '.join, named.items()))}; --role {next(iter(named))}={ROUTED} leaves it to the routes",
            err=True,
        )
    if not write and (made.harness.edits or made.routes.patch):
        click.echo(f"to put it there: routerctl init --harness {name} --write", err=True)
    if not made.harness.edits:
        click.echo(f'its environment: eval "$(routerctl env {name})"', err=True)
    click.echo(f"then: {made.harness.next.format(**made.setup.roles)}", err=True)
