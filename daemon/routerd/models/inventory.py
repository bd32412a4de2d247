"""The models on this machine: those in the hub's cache, and those that routerd made itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from .. import disk
from .errors import ModelError, ModelNotFoundError
from .hub import Repository, cache_root
from .lock import locked
from .prepare import lock_file
from .reference import Kind, ModelReference, converted_folder

LOCK_TIMEOUT_S = 1.0
DELETE_S = 600.0
"""How long the disk may take to delete a model."""
UNFINISHED = (".download", ".partial")
"""How the folders end that a killed preparation leaves; `prepare` clears them when it is next at it."""


class StoredModel(Struct, frozen=True, kw_only=True):
    """One model. ``size_bytes`` is all that removing it frees, ``last_used`` is in seconds since 1970.

    ``reference`` is what routes.yaml may call it; a conversion's is its folder. What is not ``whole``
    cannot be loaded: a download that was cut short, or a format that mlx-lm does not read. File
    systems note that a file was read once a day, or never, so that ``last_used`` is no later than that.
    """

    reference: str
    path: Path
    size_bytes: int
    whole: bool
    last_used: float


def stored(cache_dir: Path) -> list[StoredModel]:
    """Everything in the hub's cache and in ``cache_dir``, by reference. Blocks on the disk."""
    return sorted([*_downloaded(cache_root()), *_made(cache_dir / "models")], key=lambda model: model.reference)


async def remove(reference: ModelReference, cache_dir: Path) -> int:
    """Delete the model, whole or half, and return how many bytes that freed.

    Raises `ModelNotFoundError` where it is not there, `ModelError` where it lies outside the two
    caches or another process is preparing it, ``OSError`` where it cannot be deleted.
    """
    places = await disk.run(_places, reference, cache_dir, what=f"the model {reference.text}")
    if reference.kind is Kind.FOLDER:
        folder = location(reference, cache_dir)
        lock = folder.with_name(folder.name + ".lock")
    else:
        lock = lock_file(reference, cache_dir)
    try:
        async with locked(lock, timeout=LOCK_TIMEOUT_S):
            return await disk.run(lambda: sum(map(_delete, places)), what=places[0], within=DELETE_S)
    except TimeoutError as error:
        raise ModelError(f"{reference.text} is just being prepared", hint="stop that first") from error


def location(reference: ModelReference, cache_dir: Path) -> Path:
    """The folder that all of ``reference`` is in, there or not. Raises `ModelNotFoundError` for a missing ``.gguf``."""
    if reference.repository:
        return reference.repository.folder.resolve()
    if reference.kind is Kind.FOLDER:
        assert reference.path is not None
        return reference.path.resolve()
    try:
        return converted_folder(reference, cache_dir).resolve()
    except OSError as error:
        raise ModelNotFoundError(f"there is no file {reference.path}", hint="see routerctl models ls") from error


def _places(reference: ModelReference, cache_dir: Path) -> list[Path]:
    """The folders to delete."""
    if reference.revision:
        raise ModelError("all revisions of a model go together", hint=f"remove {reference.text.partition('@')[0]}")
    folder = location(reference, cache_dir)
    cache = reference.repository.root if reference.repository else cache_dir / "models"
    if folder.parent != cache.resolve():
        raise ModelError(
            f"{reference.text} is in neither the hub's cache nor routerd's own",
            hint="what neither of them put there is not routerd's to delete: see routerctl models ls",
        )
    places = [folder, *(folder.with_name(folder.name + ending) for ending in UNFINISHED)]
    found = [place for place in places if place.is_dir()]
    if not found:
        raise ModelNotFoundError(f"{reference.text} is not on this machine", hint="see routerctl models ls")
    return found


def _delete(folder: Path) -> int:
    freed = _size(folder)
    # Should this be cut short, what remains must not look whole.
    for config in [folder / "config.json", *folder.glob("snapshots/*/config.json")]:
        config.unlink(missing_ok=True)
    shutil.rmtree(folder)
    return freed


def _downloaded(root: Path) -> Iterator[StoredModel]:
    for folder in root.glob("models--*--*"):
        repository = Repository.of(folder.name.removeprefix("models--").replace("--", "/"), root)
        whole = repository.whole()
        yield _model(repository.name, folder, whole or folder, whole=whole is not None)


def _made(models: Path) -> Iterator[StoredModel]:
    for folder in models.glob("*"):
        if folder.is_dir():
            whole = folder.suffix not in UNFINISHED and (folder / "config.json").exists()
            demo = folder == converted_folder(ModelReference("demo", Kind.DEMO), models.parent)
            yield _model("demo" if demo else str(folder), folder, folder, whole=whole)


def _model(reference: str, folder: Path, path: Path, *, whole: bool) -> StoredModel:
    times = [status.st_atime for file in path.glob("*.safetensors") if (status := file.stat())]
    return StoredModel(
        reference=reference,
        path=path,
        size_bytes=_size(folder),
        whole=whole,
        last_used=max(times, default=folder.stat().st_mtime),
    )


def _size(folder: Path) -> int:
    """Links count for nothing: what they lead to is counted where it is."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
