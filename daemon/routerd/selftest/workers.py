"""How a daemon is given stand-ins for its model processes: their options are in the model's name."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from ..config.schema import MlxSpec
from ..supervisor.sizing import Size


def fake_command(spec: MlxSpec, _model: Path, fd: int, _size: Size) -> list[str]:
    """Starts a `fake_worker` with the options that the model's name carries: ``fake:--tokens 5``."""
    options = shlex.split(spec.model.removeprefix("fake:"))
    return [sys.executable, "-m", f"{__package__}.fake_worker", "--fd", str(fd), *options]


def fake_counter(spec: MlxSpec, model: Path, fd: int) -> list[str]:
    """Starts a fake counter with the same options as its model's worker."""
    return [*fake_command(spec, model, fd, Size(claim=0)), "--counter"]


async def fake_size(spec: MlxSpec, _folder: Path) -> Size:
    """Claims what the model's name says: ``fake:--size 4000000``."""
    found = re.search(r"--size (\d+)", spec.model)
    return Size(claim=int(found[1]) if found else 0)
