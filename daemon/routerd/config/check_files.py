"""Files and folders that routes.yaml names: relative ones count from it, and they must hold what is needed of them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from routerd_client.records import ConfigError

from .. import disk
from .report import Report
from .schema import BackendSpec, ConfigSpec
from .yamltree import Node, select

ADAPTER_FILES = ("adapter_config.json", "adapters.safetensors")
NO_PERSONA = "none"
MOST_PERSONA = disk.SMALL
"""The bytes that a persona may have."""
_ADAPTER = "an adapter is a folder that mlx-lm's training wrote"
_PERSONA = "a text that goes before each conversation"


def check_files(tree: Node, report: Report, base: Path) -> None:
    """Report adapters that are not there, or not whole. Relative folders count from ``base``. Asks the disk."""
    for path, adapter in select(tree, ("backends", "*", "mlx", "adapter")):
        if not isinstance(adapter.value, str):
            continue
        with _reported(adapter, path, report, _ADAPTER):
            folder = _place(adapter.value, base)
            disk.at(folder, adapter)
            missing = [name for name in ADAPTER_FILES if not stat.S_ISREG(_mode(folder / name))]
            if not stat.S_ISDIR(_mode(folder)):
                report.add(adapter, f"{path}: there is no folder {folder}", _ADAPTER)
            elif missing:
                report.add(adapter, f"{path}: {folder} has no {' and no '.join(missing)}", _ADAPTER)


def absent_models(tree: Node, file: str, base: Path) -> list[ConfigError]:
    """A warning for each model that is a folder or a file, and is not there (yet). Asks the disk."""
    report = Report(file)
    for path, model in select(tree, ("backends", "*", "mlx", "model")):
        if isinstance(model.value, str) and model.value.startswith(("/", "~", "./", "../")):
            with _reported(model, path, report, "its first request will fail"):
                place = _place(model.value, base)
                disk.at(place, model)
                if not _mode(place):
                    report.add(model, f"{path}: there is no {place} (yet): its first request will fail")
    return report.sorted()


def read_personas(tree: Node, report: Report, base: Path) -> dict[str, str]:
    """Return the texts of the personas by their names; report those that cannot be read. Asks the disk."""
    texts: dict[str, str] = {}
    for path, persona in [*select(tree, ("persona",)), *select(tree, ("routes", "*", "set", "persona"))]:
        if not isinstance(persona.value, str) or persona.value in ("", NO_PERSONA, *texts):
            continue
        with _reported(persona, path, report, _PERSONA):
            file = _place(persona.value, base)
            disk.at(file, persona)
            if not _mode(file):
                report.add(persona, f"{path}: there is no file {file}", _PERSONA)
                continue
            text = disk.read(file, MOST_PERSONA).decode("utf-8", "replace")
            texts[persona.value] = text.replace("\r\n", "\n").replace("\r", "\n")
    return texts


def persona_files(config: ConfigSpec, base: Path) -> dict[str, Path]:
    """The files that ``config`` names as personas, by what it calls them."""
    names = {config.persona, *(route.set.persona for route in config.routes if route.set)} - {"", NO_PERSONA}
    return {name: _place(name, base) for name in names}


def place_files(config: ConfigSpec, base: Path) -> ConfigSpec:
    """``config`` with its relative folders counted from ``base``."""
    return replace(config, backends={name: _placed(backend, base) for name, backend in config.backends.items()})


def _placed(backend: BackendSpec, base: Path) -> BackendSpec:
    if not (backend.mlx and backend.mlx.adapter):
        return backend
    return replace(backend, mlx=replace(backend.mlx, adapter=str(_place(backend.mlx.adapter, base))))


@contextmanager
def _reported(node: Node, path: str, report: Report, hint: str) -> Iterator[None]:
    """Report a path that the disk, or this system, cannot do anything with."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # no such user, too long, a NUL, no right to enter a folder
        report.add(node, f"{path}: {node.value} cannot be read: {disk.reason(error)}", hint)


def _mode(place: Path) -> int:
    """Return the type and mode of what is at ``place``, 0 where nothing is. Raises ``OSError`` and ``ValueError``."""
    try:
        return place.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _place(text: str, base: Path) -> Path:
    """Return the path that ``text`` means. Raises ``RuntimeError`` where it begins with the home of no user."""
    return base.absolute() / Path(text).expanduser()
