"""One download for all who want a model, and none that outlives them all."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from routerd.models.lock import locked
from tests.support.wait import until_blocking

from .pulling import HALF, NEEDED, WEIGHTS, Machine


@contextmanager
def pulling(machine: Machine) -> Iterator[subprocess.Popen[str]]:
    command = machine.routerctl("models", "pull", "org/tiny")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=machine.environment) as process:
        yield process


def half_pulled(machine: Machine) -> None:
    until_blocking(lambda: machine.part_size > HALF // 2, "half of the weights are there")


def starts(machine: Machine) -> list[int]:
    return [asked.start for asked in machine.hub.asked if asked.file == WEIGHTS]


def test_two_who_pull_at_once_fetch_once(machine: Machine) -> None:
    with pulling(machine) as first, pulling(machine) as second:
        outputs = {process.communicate(timeout=60)[0] for process in (first, second)}

    assert outputs == {f"{machine.whole}\n"}
    assert sorted(asked.file for asked in machine.hub.asked) == sorted(NEEDED)
    assert machine.hub.listings == 1


def test_the_download_of_one_that_was_killed_is_not_disturbed_but_continued(machine: Machine) -> None:
    machine.hub.hold_after = HALF
    with pulling(machine) as killed:
        half_pulled(machine)
        killed.kill()
        with pulling(machine) as other:
            machine.hub.release.set()
            out, err = other.communicate(timeout=60)

    assert out == f"{machine.whole}\n", err
    first, *later = starts(machine)
    assert first == 0
    assert all(start > HALF // 2 for start in later)


async def test_ctrl_c_ends_the_download_and_leaves_nothing_that_looks_whole(machine: Machine) -> None:
    machine.hub.hold_after = HALF
    with pulling(machine) as process:
        half_pulled(machine)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=15)

    assert (process.returncode, out) == (1, "")
    assert "Aborted!" in err
    assert "Traceback" not in err
    assert machine.whole is None
    async with locked(machine.repository.lock, timeout=0.5):
        pass  # nobody is left who would still write
