"""``routerctl models pull|ls|rm``: models on the disk. No daemon is needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import anyio
import click
from msgspec import structs

from routerd_client import Client
from routerd_client.errors import DaemonUnavailableError, RouterdError
from routerd_client.records import Residency

from ..config.places import places
from ..models.errors import ModelError
from ..models.inventory import StoredModel, location, remove, stored
from ..models.prepare import prepare
from ..models.reference import ModelReference
from .common import EXIT_FAILED, EXIT_WRONG, fail, json_option, print_json, size, table
from .progress import ProgressLine

GONE = {Residency.STOPPED, Residency.BACKOFF, Residency.FAILED}


@click.command()
@click.argument("reference")
def pull(reference: str) -> None:
    """Make REFERENCE ready to load: download it, or convert it. Needs no daemon.

    REFERENCE is what routes.yaml may call a model: org/name or org/name@revision on Hugging Face,
    a .gguf file, or demo. Prints the model's folder. After Ctrl-C, or a failure, the next pull goes on
    where this one ended.

    \b
    Examples:
      routerctl models pull mlx-community/Qwen3-4B-Instruct-2507-4bit
      routerctl models pull ~/models/tiny.gguf
    """
    progress = ProgressLine(plain=True)
    with _model_errors(progress):
        folder = anyio.run(prepare, ModelReference.parse(reference), places().cache, progress.show)
    click.echo(str(folder))


@click.command()
@json_option
def ls(as_json: bool) -> None:
    """List the models on this machine: in the hub's cache and in routerd's own. Needs no daemon.

    \b
    Examples:
      routerctl models ls
      routerctl models ls --json | jq '[.models[].size_bytes] | add'
    """
    found = stored(places().cache)
    if as_json:
        print_json({"models": [structs.asdict(model) | {"path": str(model.path)} for model in found]})
    else:
        click.echo(table([_stored_row(model) for model in found]) or "no models are on this machine")


@click.command()
@click.argument("reference")
@click.option("--yes", is_flag=True, help="Do not ask; needed where there is no terminal to ask on.")
def rm(reference: str, yes: bool) -> None:
    """Delete REFERENCE from this machine, all its revisions, whole or half. Needs no daemon.

    Refuses while a running daemon has it loaded, and what lies outside the hub's cache and routerd's.

    \b
    Examples:
      routerctl models rm mlx-community/Qwen3-4B-Instruct-2507-4bit
      routerctl models rm demo --yes
    """
    with _model_errors(ProgressLine()):
        parsed, cache = ModelReference.parse(reference), places().cache
        if holder := _holder(location(parsed, cache), cache):
            raise ModelError(f"{holder} has {reference} loaded", hint=f"routerctl models unload {holder}")
        if not yes:
            if not sys.stdin.isatty():
                raise ValueError(f"to delete {reference} without being asked, say --yes")
            click.confirm(f"Delete {reference} ({location(parsed, cache)})?", abort=True, err=True)
        freed = anyio.run(remove, parsed, cache)
    click.echo(f"{size(freed)} freed")


def _holder(folder: Path, cache: Path) -> str:
    """The backend whose process may have something of ``folder`` open, or ``""``; so too where no daemon answers."""
    try:
        with Client(click.get_current_context().obj, name="routerctl") as client:
            status = client.status()
    except DaemonUnavailableError:
        return ""
    for model in status.models:
        if model.residency in GONE:
            continue
        try:
            held = location(ModelReference.parse(model.model, Path(status.config).parent), cache)
        except (ValueError, ModelError):
            continue  # what it was loaded from has gone, or only that daemon can tell
        if held.is_relative_to(folder):
            return model.backend
    return ""


@contextmanager
def _model_errors(progress: ProgressLine) -> Iterator[None]:
    """One line on stderr for what can be wrong with a model, and the exit code for it."""
    try:
        yield
    except (ModelError, OSError) as error:
        hint = error.hint if isinstance(error, ModelError) else ""
        _fail(progress, f"{error}" + (f" ({hint})" if hint else ""), EXIT_FAILED)
    except ValueError as error:
        _fail(progress, str(error), EXIT_WRONG)
    except RouterdError as error:
        fail(error)
    finally:
        progress.clear()


def _fail(progress: ProgressLine, message: str, code: int) -> None:
    progress.clear()
    click.echo(f"routerctl: {message}", err=True)
    sys.exit(code)


def _stored_row(model: StoredModel) -> dict[str, str]:
    return {
        "model": model.reference,
        "size": size(model.size_bytes),
        "state": "whole" if model.whole else "partial",
        "last used": datetime.fromtimestamp(model.last_used).astimezone().strftime("%Y-%m-%d"),
        "path": str(model.path),
    }
