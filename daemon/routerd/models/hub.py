"""Models in Hugging Face's cache on this machine, found without its library."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import ModelNotFoundError


def cache_root() -> Path:
    """Where ``hf download`` puts models, as its environment variables say."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    xdg = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{xdg}/huggingface"
    return Path(home).expanduser() / "hub"


def snapshot(repo: str, root: Path | None = None) -> Path:
    """The folder of ``repo`` (``org/name``) in the cache at ``root`` (default: `cache_root`).

    The revision that ``main`` points to, else the newest. Raises `ModelNotFoundError` where there is none.
    """
    folder = (root or cache_root()) / f"models--{repo.replace('/', '--')}"
    for candidate in _revisions(folder):
        if (candidate / "config.json").exists():
            return candidate
    raise ModelNotFoundError(f"{repo} is not on this machine", hint=f"download it: hf download {repo}")


def _revisions(folder: Path) -> list[Path]:
    try:
        main = (folder / "refs" / "main").read_text().strip()
    except OSError:
        main = ""
    snapshots = folder / "snapshots"
    found = [path for path in snapshots.iterdir() if path.is_dir()] if snapshots.is_dir() else []
    return sorted(found, key=lambda path: (path.name == main, path.stat().st_mtime), reverse=True)
