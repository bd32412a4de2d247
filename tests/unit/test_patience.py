from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from routerd.backends.base import BackendError
from routerd.backends.patience import Patience
from routerd.config.http import TimeoutSpec


async def streams_on(times: TimeoutSpec) -> None:
    """Get one piece after the other, as from a server that never pauses."""
    with Patience(times, "it") as patience:
        patience.connected()
        while True:
            patience.pause()
            patience.go_on()
            await anyio.lowlevel.checkpoint()


async def test_a_bound_too_near_for_a_timer_is_a_bound_all_the_same() -> None:
    with pytest.raises(BackendError, match=r"was not whole within 0\.0003 s"):
        await streams_on(TimeoutSpec(total=0.0003))
