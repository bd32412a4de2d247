"""Paths of the makers' APIs that have to do with what is stored: nothing is."""

from __future__ import annotations

from .page import Ask, Reply, refused
from .services import Services


async def nothing(_services: Services, _ask: Ask) -> Reply:
    raise refused(404, "nothing is stored here: no responses, batches or files", "send all that a request needs in it")
