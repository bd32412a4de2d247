"""What a model's process is planned to need: the estimate from its files, or what it was seen to need."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from routerd_client.records import FailureKind

from ..config.schema import MlxSpec
from ..models.errors import ModelError
from ..models.size import Footprint, estimate
from .errors import ProcessFailedError
from .learned import Learned, model_key

CACHE_LIMIT = 512 * 1024 * 1024
"""What a worker lets mlx keep of freed buffers, in bytes."""


class Size(Struct, frozen=True):
    """``claim`` is reserved for the process, ``kv_pool`` is what its answers' caches may take of that together;
    both in bytes, 0 for no limit. ``key`` and ``footprint`` are for what is learned of it; None where nothing is."""

    claim: int
    kv_pool: int = 0
    key: str = ""
    footprint: Footprint | None = None


def size_of(spec: MlxSpec, folder: Path, learned: Learned) -> Size:
    """The size of the model in ``folder`` under ``spec``. Blocks on the disk.

    Raises `ProcessFailedError` where its files are damaged.
    """
    try:
        footprint = estimate(folder)
    except ModelError as error:
        raise ProcessFailedError(FailureKind.LOAD_FAILED, str(error), hint=error.hint) from error
    key = model_key(folder, concurrency=spec.concurrency, context=spec.context)
    planned = footprint.needed(spec.kv_tokens, spec.concurrency, CACHE_LIMIT) + spec.prompt_cache
    return Size(
        claim=learned.expected(key, footprint, planned),
        kv_pool=footprint.pool(spec.kv_tokens, spec.concurrency) + spec.prompt_cache,
        key=key,
        footprint=footprint,
    )
