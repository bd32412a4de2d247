"""Model references: what a configuration may call a model, and where that is on this machine."""

from __future__ import annotations

import re
import sys
from enum import Enum
from hashlib import sha256
from pathlib import Path

from msgspec import Struct

from .errors import BrokenModelError, ModelNotFoundError
from .hub import Repository

HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>\w[\w./-]*))?", re.ASCII)

SPLIT = re.compile(r".*-\d{5}-of-(?P<parts>\d{5})\.gguf", re.IGNORECASE | re.DOTALL)


class Kind(Enum):
    """What a reference names."""

    DEMO = "demo"
    FOLDER = "folder"
    GGUF = "gguf"
    HUB = "hub"


class ModelReference(Struct, frozen=True):
    """A reference as it was written, and what it is.

    ``path`` is set for folders and files, ``repository`` for ids, ``revision`` where one is pinned.
    """

    text: str
    kind: Kind
    path: Path | None = None
    repository: Repository | None = None
    revision: str = ""

    @classmethod
    def parse(cls, text: str, base: Path | None = None) -> ModelReference:
        """Read ``text``: ``demo``, a ``.gguf`` file, a folder, or a Hugging Face id ``org/name[@revision]``.

        Relative paths count from ``base`` (default: the working directory). ``org/name`` is a folder
        where one of that name is there, an id otherwise. Raises ``ValueError`` for anything else.
        """
        try:
            path = Path(base or Path.cwd(), Path(text).expanduser())
        except RuntimeError as error:
            raise ValueError(f"{text!r} is no model: {error}") from None
        if text == "demo":
            return cls(text, Kind.DEMO)
        if path.suffix.lower() == ".gguf":
            return cls(text, Kind.GGUF, path)
        if text.startswith(("/", "./", "../", "~")) or path.is_dir():
            return cls(text, Kind.FOLDER, path)
        if (match := HUB_ID.fullmatch(text)) and ".." not in text:
            return cls(text, Kind.HUB, repository=Repository.of(match["name"]), revision=match["revision"] or "")
        raise ValueError(f"{text!r} is no model: write demo, a folder, a .gguf file, or a Hugging Face id (org/name)")


def resolve(reference: ModelReference, cache_dir: Path) -> Path | None:
    """The folder a worker can load right now, or ``None`` where `prepare` has to make it first.

    Reads names, sizes and listings: blocks for milliseconds. Raises `ModelNotFoundError` where nothing can make it,
    `BrokenModelError` for a part of a split file.
    """
    match reference.kind:
        case Kind.FOLDER:
            return _folder(_path(reference))
        case Kind.HUB:
            assert reference.repository is not None
            return reference.repository.whole(reference.revision)
        case Kind.GGUF if not _path(reference).is_file():
            raise ModelNotFoundError(f"there is no file {reference.path}", hint="check the path of the model")
        case Kind.GGUF if parts := split_parts(_path(reference).name):
            raise split_gguf(_path(reference).name, parts)
        case _:
            converted = converted_folder(reference, cache_dir)
            return converted if converted.is_dir() else None


def split_parts(name: str) -> int:
    """How many parts a ``.gguf`` file of this name is one of; 0 where it is whole."""
    match = SPLIT.fullmatch(name)
    return int(match["parts"]) if match and int(match["parts"]) > 1 else 0


def split_gguf(name: str, parts: int) -> BrokenModelError:
    """The error of a part of a split file."""
    return BrokenModelError(
        f"{name} is one of the {parts} parts of a split GGUF file",
        hint="join them first: llama-gguf-split --merge FIRST_PART.gguf WHOLE.gguf; then name the whole file",
    )


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise ModelNotFoundError(f"there is no folder {path}", hint="check the path of the model")
    if not (path / "config.json").is_file():
        raise ModelNotFoundError(f"{path} has no config.json", hint="a model folder has one: is this the right folder?")
    return path


def _path(reference: ModelReference) -> Path:
    assert reference.path is not None
    return reference.path


def converted_folder(reference: ModelReference, cache_dir: Path) -> Path:
    """Where the conversion of a demo or ``.gguf`` reference stands, or will stand."""
    if reference.kind is Kind.DEMO:
        return cache_dir / "models" / f"demo-{dtype()}"
    path = _path(reference)
    status = path.stat()
    # Another file under the same name is another model.
    key = f"{path.resolve()}\0{status.st_mtime_ns}\0{status.st_size}"
    return cache_dir / "models" / f"{path.stem}-{sha256(key.encode()).hexdigest()[:12]}-{dtype()}"


def dtype() -> str:
    """What conversions keep: the CPU decodes unpacked weights 20 times faster, Metal likes them packed."""
    return "4bit" if sys.platform == "darwin" else "bf16"
