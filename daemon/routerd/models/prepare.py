"""Making a model ready: the slow way from a reference to a folder that a worker can load."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio

from .. import disk
from . import child, demo
from .download import download
from .errors import PrepareError
from .lock import locked
from .reference import ModelReference, converted_folder, dtype, resolve
from .runtime import check_runtime

CLEAR_S = 10.0
LOCK_TIMEOUT_S = 6 * 3600.0
"""How long another process's download is waited for."""

Progress = Callable[[str, float | None], None]


async def prepare(reference: ModelReference, cache_dir: Path, progress: Progress) -> Path:
    """The folder of ``reference``, downloaded and converted first where need be; at once where it is there.

    ``progress`` gets a phase (``download``, ``verify``, ``convert``) and its fraction, ``None`` where
    that is not known. Of several processes one does the work, the others wait for it. Cancelling
    stops the work and leaves nothing that looks whole. Raises `ModelNotFoundError` and `PrepareError`, and
    `NoRuntimeError` where no model could be run anyway.
    """
    check_runtime()
    if folder := await _resolve(reference, cache_dir):
        return folder
    lock = lock_file(reference, cache_dir)
    try:
        async with locked(lock, timeout=LOCK_TIMEOUT_S) as hold:
            return await _resolve(reference, cache_dir) or await _make(reference, cache_dir, progress, hold)
    except TimeoutError as exc:
        raise PrepareError(f"another process has been preparing {reference.text} for too long") from exc
    except OSError as exc:
        raise PrepareError(f"{reference.text} cannot be stored near {lock}: {exc}") from exc


def lock_file(reference: ModelReference, cache_dir: Path) -> Path:
    """What whoever makes or removes the model has locked. Not for folders, which nobody makes."""
    if reference.repository:
        return reference.repository.lock
    target = converted_folder(reference, cache_dir)
    return target.with_name(target.name + ".lock")


async def _resolve(reference: ModelReference, cache_dir: Path) -> Path | None:
    return await disk.run(resolve, reference, cache_dir, what=f"the model {reference.text}")


async def _make(reference: ModelReference, cache_dir: Path, progress: Progress, hold: int) -> Path:
    if reference.repository:
        return await download(reference.repository.name, reference.revision, progress, hold=hold)
    target = converted_folder(reference, cache_dir)
    if reference.path:
        return await _convert(reference.path, target, progress)
    # Next to its destination, as /tmp may be small and in memory; one name, so that a killed
    # daemon's rest is found.
    scratch = target.with_name(target.name + ".download")
    try:
        await disk.run(_empty, scratch, what=scratch, within=CLEAR_S)
        return await _convert(await demo.fetch(scratch, progress), target, progress)
    finally:
        with anyio.CancelScope(shield=True), suppress(OSError):  # the next preparation empties it too
            await disk.run(shutil.rmtree, scratch, True, what=scratch, within=CLEAR_S)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


async def _convert(source: Path, target: Path, progress: Progress) -> Path:
    phases: set[str] = set()

    def report(line: str) -> None:
        step = json.loads(line)
        phases.add(step["phase"])
        if step["phase"] == "weights":
            progress("convert", step["fraction"])

    progress("convert", None)
    command = [sys.executable, "-m", "routerd.worker", "convert", str(source), str(target), "--dtype", dtype()]
    if error := await child.run(command, report):
        message = f"{source.name} cannot be converted: {error.splitlines()[-1]}"
        raise PrepareError(message, permanent="broken" in phases)
    return target
