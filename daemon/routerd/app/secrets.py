"""Looking up every secret of routes.yaml, to see whether it is there."""

from __future__ import annotations

from .. import disk
from ..agent.secrets import Unresolved, secrets
from ..backends.base import BackendError
from ..backends.secrets import Secrets
from ..config.load import load_file
from ..config.places import Places


async def unresolved(places: Places) -> list[Unresolved]:
    """Those that this process cannot have. Raises `ConfigFailedError`."""
    loaded = await disk.run(load_file, places.config, what=places.config)
    shelf = Secrets(places.config.parent)
    missing = []
    for where, secret in secrets(loaded.config):
        try:
            await shelf.resolve(secret)
        except BackendError as error:
            missing.append(Unresolved(where, str(secret), str(error)))
    return missing
