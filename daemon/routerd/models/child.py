"""Child processes that do the slow work of preparing a model."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from subprocess import DEVNULL, PIPE

import anyio
from anyio.abc import ByteReceiveStream
from anyio.streams.text import TextReceiveStream

LAST_LINES = 20


async def run(
    command: list[str],
    on_line: Callable[[str], None],
    env: dict[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> str | None:
    """Run ``command``, each line of its stdout to ``on_line``.

    Returns ``None`` on success, else what it last said on stderr. Cancelling kills it. Raises
    ``OSError`` where it cannot be started.
    """
    errors: deque[str] = deque(maxlen=LAST_LINES)
    process = await anyio.open_process(
        command,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        env=os.environ | (env or {}),
        start_new_session=True,
        pass_fds=pass_fds,
    )
    async with process:  # leaving it waits for its end
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_lines, process.stdout, on_line)
                tasks.start_soon(_lines, process.stderr, errors.append)
        except BaseException:
            # Here and not by anyio: Ctrl-C cancels this task only once, and the wait would not be cancelled.
            with suppress(ProcessLookupError):
                process.kill()
            raise
    return None if process.returncode == 0 else "\n".join(errors) or f"exit code {process.returncode}"


async def _lines(stream: ByteReceiveStream | None, on_line: Callable[[str], None]) -> None:
    assert stream is not None
    rest = ""
    async for text in TextReceiveStream(stream, errors="replace"):
        *lines, rest = (rest + text).split("\n")
        for line in filter(str.strip, lines):
            on_line(line)
    if rest.strip():
        on_line(rest)
