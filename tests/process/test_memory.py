"""Real workers under the kernel's memory killer: the worker goes, the daemon stays and says what happened."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from routerd_client import RequestFailedError
from routerd_client.records import FailureKind
from tests.support.daemon import Standalone, standalone_daemon
from tests.support.tiny_model import make_tiny_model
from tests.support.wait import until_blocking

LIMIT = 100_000_000
"""The daemon takes 30 MB and a worker with the model below 150."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says that, and whom, it killed for memory")


def memory_cgroup() -> Path | None:
    """The memory cgroup that this process is in, of either version, where a folder may be made in it."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        roots = {"memory": "/sys/fs/cgroup/memory", "": "/sys/fs/cgroup"}
        folder = Path(roots.get(controllers, "/nowhere") + path)
        knob = "memory.limit_in_bytes" if controllers else "memory.max"
        if (folder / knob).exists() and os.access(folder / knob, os.W_OK):
            return folder
    return None


@pytest.fixture
def limited() -> Iterator[Path]:
    """A cgroup of `LIMIT` bytes."""
    parent = memory_cgroup()
    if parent is None:
        pytest.skip("needs the right to make a memory cgroup")
    folder = parent / f"routerd-test-{os.getpid()}"
    folder.mkdir()
    try:
        knobs = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.swap.max")
        for name in knobs:
            if (folder / name).exists():
                (folder / name).write_text("0" if name == "memory.swap.max" else str(LIMIT))
        yield folder
    finally:
        until_blocking(lambda: not (folder / "cgroup.procs").read_text(), "everything in the cgroup has ended")
        folder.rmdir()


@pytest.fixture
def short_of_memory(tmp_path: Path, limited: Path) -> Iterator[Standalone]:
    model = make_tiny_model(tmp_path / "model", hidden=2048)
    routes = f"""\
version: 1
backends: {{small: {{mlx: {{model: {model}, prompt_cache: 0}}}}}}
default: small
memory: {{budget: 8GB}}
"""
    enter = ["/bin/sh", "-c", f'echo $$ > {limited}/cgroup.procs && exec "$@"', "sh"]
    with standalone_daemon(tmp_path, routes, prefix=enter) as daemon:
        yield daemon


def test_a_worker_that_the_kernel_killed_for_memory_is_told_as_such(short_of_memory: Standalone) -> None:
    with short_of_memory.client() as client:
        with pytest.raises(RequestFailedError, match="for want of memory: it was planned at") as caught:
            client.chat("hello")
        (attempt,) = caught.value.attempts
        assert attempt.failure is FailureKind.OOM_KILLED
        (model,) = client.status().models
        assert "for want of memory" in model.error
    assert short_of_memory.process.poll() is None, "the kernel took the worker and not the daemon"


def test_a_worker_offers_itself_to_the_kernel_before_the_daemon(daemon: Standalone) -> None:
    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    with daemon.client() as client:
        client.models("load", "small")
    (worker,) = daemon.workers()
    assert score(worker) == 500 > score(daemon.process.pid)
