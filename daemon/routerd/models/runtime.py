"""A check for the libraries that model processes need; the daemon itself lives without them."""

from __future__ import annotations

import platform
import shlex
import sys
from importlib.util import find_spec

from .errors import ModelError

NEEDED = ("mlx", "mlx_lm")


class NoRuntimeError(ModelError):
    """The libraries that model processes need are not installed. Raised by `check_runtime`."""


def check_runtime() -> None:
    """Raise `NoRuntimeError` where models cannot be run here, with the command that changes that."""
    if absent := [name for name in NEEDED if not _installed(name)]:
        what = f"models cannot run here: {' and '.join(absent)} {'are' if len(absent) > 1 else 'is'} not installed"
        raise NoRuntimeError(what, hint=how_to_install())


def how_to_install() -> str:
    """Return the command that installs what models need into this installation."""
    return remedy(sys.platform, platform.machine(), sys.executable, _installed("pip"))


def remedy(system: str, machine: str, python: str, pip: bool) -> str:
    """Return what to do where mlx is missing, on ``system`` (as in ``sys.platform``) for the interpreter ``python``."""
    install = f"{shlex.quote(python)} -m pip install" if pip else f"uv pip install --python {shlex.quote(python)}"
    if system == "linux":
        return f"install routerd's extra 'cpu': {install} 'routerd[cpu]'"
    if (system, machine) == ("darwin", "arm64"):
        return f"install mlx-lm: {install} 'mlx-lm>=0.32,<0.33'"
    return "mlx runs on Apple silicon and Linux alone; here, use backends over HTTP (docs/backends.md)"


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
