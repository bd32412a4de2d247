"""The machine's facts, from trees that are made up and from the machine the tests run on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from routerd.supervisor.machine import GIB, LinuxMachine, MacMachine, this_machine

MIB = 1024**2
Write = Callable[[str, str], None]

UNLIMITED_V1 = "9223372036854771712\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of a root that already has 16 GiB and no cgroups."""

    def write(path: str, text: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write("proc/meminfo", f"MemTotal:       {16 * MIB} kB\nMemFree:  1 kB\n")
    return write


@pytest.fixture
def machine(tmp_path: Path) -> LinuxMachine:
    return LinuxMachine(tmp_path)


def test_without_cgroups_all_memory_counts(write: Write, machine: LinuxMachine) -> None:
    assert machine.total() == 16 * GIB
    assert machine.budget() == int(16 * GIB * 0.9)
    assert machine.budget(kept_free=0.5) == 8 * GIB


@pytest.mark.parametrize(
    ("leaf", "middle", "total"),
    [("max", "max", 16), (str(4 * GIB), "max", 4), ("max", str(3 * GIB), 3), (str(4 * GIB), str(3 * GIB), 3)],
)
def test_the_lowest_limit_up_the_tree_counts(
    write: Write, machine: LinuxMachine, leaf: str, middle: str, total: int
) -> None:
    write("proc/self/cgroup", "0::/user.slice/routerd.service\n")
    write("sys/fs/cgroup/user.slice/routerd.service/memory.max", leaf + "\n")
    write("sys/fs/cgroup/user.slice/memory.max", middle + "\n")

    assert machine.total() == total * GIB


def test_a_limit_above_all_memory_is_none(write: Write, machine: LinuxMachine) -> None:
    write("proc/self/cgroup", "0::/a\n")
    write("sys/fs/cgroup/a/memory.max", str(64 * GIB))

    assert machine.total() == 16 * GIB


def test_the_first_version_of_cgroups(write: Write, machine: LinuxMachine) -> None:
    write("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/box/inner\n0::/\n")
    write("sys/fs/cgroup/memory/box/inner/memory.limit_in_bytes", UNLIMITED_V1)
    write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", f"{2 * GIB}\n")
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED_V1)

    assert machine.total() == 2 * GIB


def test_in_a_container_the_mount_itself_is_looked_at(write: Write, machine: LinuxMachine) -> None:
    write("proc/self/cgroup", "4:memory:/docker/0123456789\n")
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", f"{GIB}\n")

    assert machine.total() == GIB


def test_shared_pages_are_counted_by_their_share(write: Write, machine: LinuxMachine) -> None:
    write("proc/7/smaps_rollup", "55d0-7ffd ---p 00000000 00:00 0  [rollup]\nRss:  2000 kB\nPss:  1500 kB\n")
    write("proc/7/status", "Name:\tpython\nVmRSS:\t    2000 kB\n")

    assert machine.process_memory(7) == 1500 * 1024


def test_without_a_rollup_the_resident_size_is_taken(write: Write, machine: LinuxMachine) -> None:
    write("proc/7/status", "Name:\tpython\nVmRSS:\t    2000 kB\n")

    assert machine.process_memory(7) == 2000 * 1024


def test_a_process_that_has_ended_takes_nothing_that_can_be_told(write: Write, machine: LinuxMachine) -> None:
    write("proc/7/status", "Name:\tpython\nState:\tZ (zombie)\n")

    assert machine.process_memory(7) is None
    assert machine.process_memory(8) is None


@pytest.mark.parametrize(
    ("text", "pressure"),
    [
        ("some avg10=12.34 avg60=1.00 avg300=0.20 total=9\nfull avg10=2.00 avg60=0.00 avg300=0.00 total=4\n", 12.34),
        ("", None),
        ("nonsense\n", None),
    ],
)
def test_pressure_is_the_last_ten_seconds(
    write: Write, machine: LinuxMachine, text: str, pressure: float | None
) -> None:
    write("proc/pressure/memory", text)

    assert machine.pressure() == pressure


def test_a_kernel_without_pressure_says_so(machine: LinuxMachine) -> None:
    assert machine.pressure() is None


def test_kills_are_counted_by_the_own_cgroup_and_not_by_the_neighbours(write: Write, machine: LinuxMachine) -> None:
    write("proc/vmstat", "oom_kill 40\n")
    write("proc/self/cgroup", "0::/a/b\n")
    write("sys/fs/cgroup/a/memory.events", "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\n")

    assert machine.oom_kills() == 2


def test_kills_of_the_first_version_of_cgroups(write: Write, machine: LinuxMachine) -> None:
    write("proc/self/cgroup", "4:memory:/a\n")
    write("sys/fs/cgroup/memory/a/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n")

    assert machine.oom_kills() == 5


def test_kills_of_the_whole_machine_where_no_cgroup_counts(write: Write, machine: LinuxMachine) -> None:
    assert machine.oom_kills() == 0
    write("proc/self/cgroup", "0::/\n")
    write("proc/vmstat", "pgfault 9\noom_kill 40\n")
    assert machine.oom_kills() == 40


@pytest.mark.parametrize(
    ("size_gib", "wired_mb", "budget"),
    [
        (16, 0, 16 * GIB * 2 // 3),
        (36, None, 24 * GIB),
        (64, 0, 48 * GIB),
        (64, 50_000, 50_000 * MIB),
        (64, 64 * 1024, int(64 * GIB * 0.9)),
    ],
)
def test_what_metal_may_wire_on_a_mac(size_gib: int, wired_mb: int | None, budget: int) -> None:
    numbers = {"hw.memsize": size_gib * GIB, "iogpu.wired_limit_mb": wired_mb}
    mac = MacMachine(numbers.get, {7: 5000}.get)

    assert mac.total() == size_gib * GIB
    assert mac.budget() == budget
    assert mac.process_memory(7) == 5000
    assert mac.process_memory(8) is None
    assert mac.pressure() is None
    assert mac.oom_kills() == 0


def test_a_mac_that_does_not_tell_its_memory_is_an_error() -> None:
    with pytest.raises(OSError, match=r"hw\.memsize"):
        MacMachine(lambda name: None, lambda pid: None).budget()


def test_this_machine() -> None:
    machine = this_machine()

    assert isinstance(machine, MacMachine if sys.platform == "darwin" else LinuxMachine)
    assert 256 * MIB < machine.budget() < machine.total() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    mine = machine.process_memory(os.getpid())
    assert mine is not None
    assert 10 * MIB < mine < machine.total()
    assert machine.process_memory(1 << 22 | 1) is None
    assert machine.oom_kills() >= 0


def test_memory_that_is_touched_shows() -> None:
    machine = this_machine()
    before = machine.process_memory(os.getpid())
    block = b"x" * (64 * MIB)
    after = machine.process_memory(os.getpid())

    assert before is not None
    assert after is not None
    assert after - before > len(block) // 2
