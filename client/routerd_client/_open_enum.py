from __future__ import annotations

from enum import Enum
from typing import Any


class OpenEnum(Enum):
    """An enum whose later members arrive at older readers as ``UNKNOWN``; subclasses have that member."""

    @classmethod
    def _missing_(cls, value: object) -> Any:  # noqa: ARG003 - the enum protocol's signature
        return cls["UNKNOWN"]
