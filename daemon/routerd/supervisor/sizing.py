"""What a model's process is planned to need: the estimate from its files, or what it was seen to need."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from ..config.schema import MlxSpec
from ..models.errors import ModelError
from ..models.size import Footprint, adapter_size, estimate
from .errors import load_failed
from .learned import Learned, model_key

CACHE_LIMIT = 512 * 1024 * 1024
"""What a worker lets mlx keep of freed buffers, in bytes."""


SIZE_S = 60.0
"""How long the disk may take to say it: a large model has hundreds of headers."""


class Size(Struct, frozen=True):
    """What one process may have, in bytes. ``claim`` is reserved for it; of that ``kv_pool`` is what its answers'
    caches may take together, and ``buffers`` what mlx may keep of freed buffers, 0 for no limit. ``key`` and
    ``footprint`` are for what is learned of it; None where nothing is."""

    claim: int
    kv_pool: int = 0
    buffers: int = 0
    key: str = ""
    footprint: Footprint | None = None


def size_of(spec: MlxSpec, folder: Path, learned: Learned) -> Size:
    """The size of the model in ``folder`` under ``spec``. Blocks on the disk.

    Raises `ProcessFailedError` where its files are damaged.
    """
    try:
        footprint = estimate(folder)
        if spec.adapter:
            footprint = replace(footprint, weights=footprint.weights + adapter_size(Path(spec.adapter)))
    except ModelError as error:
        raise load_failed(error) from error
    planned = footprint.needed(spec.kv_tokens, spec.concurrency, CACHE_LIMIT) + spec.prompt_cache
    if spec.hosts:
        return _share_of_group(spec, footprint, planned)
    key = model_key(folder, spec)
    kv_pool = footprint.pool(spec.kv_tokens, spec.concurrency) + spec.prompt_cache
    buffers = footprint.freed(spec.kv_tokens, spec.concurrency, CACHE_LIMIT)
    return Size(
        claim=learned.expected(key, footprint, planned, kv_pool + buffers),
        kv_pool=kv_pool,
        buffers=buffers,
        key=key,
        footprint=footprint,
    )


def _share_of_group(spec: MlxSpec, footprint: Footprint, planned: int) -> Size:
    """What this machine's ranks take, those that bear the name of the first, and the worker beside them.

    Nothing is learned of it: a peak would be the worker's own, which has no weights.
    """
    ranks = spec.hosts.count(spec.hosts[0])
    divided = (planned - footprint.base) * ranks // len(spec.hosts)
    kv_pool = footprint.pool(spec.kv_tokens, spec.concurrency) + spec.prompt_cache
    return Size(claim=divided + (ranks + 1) * footprint.base, kv_pool=kv_pool)
