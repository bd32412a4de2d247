"""Folders that routes.yaml names: relative ones count from it, and they must hold what is needed of them."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from routerd_client.records import ConfigError

from .report import Report
from .schema import BackendSpec, ConfigSpec
from .yamltree import Node, select

ADAPTER_FILES = ("adapter_config.json", "adapters.safetensors")
NO_PERSONA = "none"
_ADAPTER = "an adapter is a folder that mlx-lm's training wrote"


def check_files(tree: Node, report: Report, base: Path) -> None:
    """Report adapters that are not there, or not whole. Relative folders count from ``base``. Asks the disk."""
    for path, adapter in select(tree, ("backends", "*", "mlx", "adapter")):
        if not isinstance(adapter.value, str):
            continue
        folder = _place(adapter.value, base)
        missing = [name for name in ADAPTER_FILES if not (folder / name).is_file()]
        if not folder.is_dir():
            report.add(adapter, f"{path}: there is no folder {folder}", _ADAPTER)
        elif missing:
            report.add(adapter, f"{path}: {folder} has no {' and no '.join(missing)}", _ADAPTER)


def absent_models(tree: Node, file: str, base: Path) -> list[ConfigError]:
    """A warning for each model that is a folder or a file, and is not there (yet). Asks the disk."""
    report = Report(file)
    for path, model in select(tree, ("backends", "*", "mlx", "model")):
        if isinstance(model.value, str) and model.value.startswith(("/", "~", "./", "../")):
            try:
                place = _place(model.value, base)
            except RuntimeError:  # ~nobody
                place = Path(model.value)
            if not place.exists():
                report.add(model, f"{path}: there is no {place} (yet): its first request will fail")
    return report.sorted()


def check_personas(tree: Node, report: Report, base: Path) -> None:
    """Report personas that are no files. Asks the disk."""
    for path, persona in [*select(tree, ("persona",)), *select(tree, ("routes", "*", "set", "persona"))]:
        if isinstance(persona.value, str) and persona.value not in ("", NO_PERSONA):
            file = _place(persona.value, base)
            if not file.is_file():
                report.add(persona, f"{path}: there is no file {file}", "a text that goes before each conversation")


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


def _place(text: str, base: Path) -> Path:
    return base.absolute() / Path(text).expanduser()
