"""What the HTTP front adds between a client and an API: time, requests a second, tokens a second, memory.

    python -m benchmarks.gateway [--quick] [--json] [--litellm PROGRAM] [--tensorzero PYTHON] [--portkey FOLDER]

All ways lead to the same upstream, a stand-in that answers at once. ``direct`` is the floor; ``aiohttp relay`` passes
bytes on and does nothing else. Other gateways take part where they are named. Load, gateway and upstream share one
core where one request is in flight; else the gateway has a core of its own.

    pip install "litellm[proxy]" (in an environment of its own: --litellm ENVIRONMENT/bin/litellm)
    pip install tensorzero       (in an environment of its own: --tensorzero ENVIRONMENT/bin/python)
    npm install @portkey-ai/gateway (with "overrides": {"@hono/node-server": "1.13.8"} in package.json, since newer
    ones cannot stream: --portkey FOLDER)
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import uvloop
from msgspec import Struct
from tests.support.daemon import standalone_daemon

from .common import median, percentile, pin, report, unpin
from .gateway_load import TOKENS, Place, paced, requests, round_trips, streams
from .gateway_others import MODELS, Way, litellm, portkey, tensorzero

AT_ONCE = 16
OTHERS = {"litellm": litellm, "tensorzero": tensorzero, "portkey": portkey}
GOALS = {
    "added_us": 300.0,
    "per_second": 4_000.0,
    "tokens_per_second": 85_000.0,
    "delay_p99_ms": 1.0,
    "first_added_ms": 7.0,
    "idle_mb": 60.0,
}
"""Of routerd over TCP: most, least, least, most, most, most."""


class Amount(Struct, frozen=True):
    rounds: int
    trips: int
    seconds: float


QUICK, FULL = Amount(1, 1000, 1.0), Amount(5, 4000, 4.0)


@contextmanager
def upstream() -> Iterator[tuple[int, int]]:
    """Its port and its process."""
    with served("--serve-upstream") as found:
        yield found


@contextmanager
def served(*arguments: str) -> Iterator[tuple[int, int]]:
    """A server of this file's own in a process; it prints its port."""
    command = [sys.executable, "-m", "benchmarks.gateway_peers", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.wait()


@contextmanager
def routerd(port: int) -> Iterator[list[Way]]:
    """The daemon, by TCP and by its own socket."""
    url = f"http://127.0.0.1:{port}/v1"
    backends = json.dumps({name: {"openai": {"model": name, "base_url": url}} for name in MODELS})
    text = f"version: 1\nbackends: {backends}\ndefault: whole\nhttp: {{listen: 127.0.0.1:0}}\nlog: {{level: error}}\n"
    with tempfile.TemporaryDirectory() as folder, standalone_daemon(Path(folder), text) as daemon:
        with daemon.client() as client:
            while not (address := client.status().http):
                time.sleep(0.01)
        token = (daemon.places.state / "http-token").read_text().strip()
        headers = f"authorization: Bearer {token}\r\n"
        tcp = Place(("127.0.0.1", int(address.rpartition(":")[2])), headers)
        yield [
            Way("routerd", tcp, daemon.process.pid),
            Way("routerd, Unix socket", Place(str(daemon.socket), ""), daemon.process.pid),
        ]


def measure(way: Way, up: int, amount: Amount) -> dict[str, float]:
    """Medians over the rounds."""
    found: dict[str, list[float]] = {}
    for _ in range(amount.rounds):
        _pin(way, up, together=True)
        round_trips(way.place, amount.trips // 10)
        times = round_trips(way.place, amount.trips)
        now = {"p50_us": median(times), "p99_us": percentile(times, 0.99)}
        _pin(way, up, together=False)
        for name, load in (("per_second", requests), ("tokens_per_second", streams)):
            before = _cpu_s(way.pid)
            now[name] = uvloop.run(load(way.place, AT_ONCE, amount.seconds))
            now[f"{name}_cpu_us"] = (_cpu_s(way.pid) - before) / (now[name] * amount.seconds) * 1e6
        firsts, delays = uvloop.run(paced(way.place, AT_ONCE, amount.seconds))
        now |= {"first_ms": median(firsts), "delay_p50_ms": median(delays), "delay_p99_ms": percentile(delays, 0.99)}
        for name, value in now.items():
            found.setdefault(name, []).append(value)
    unpin(0)
    return {name: median(values) for name, values in found.items()}


def _pin(way: Way, up: int, *, together: bool) -> None:
    pin(0, 0)
    pin(up, 0)
    if way.pid:
        pin(way.pid, 0 if together else 1)


def _cpu_s(pid: int | None) -> float:
    """Processor time that it has used: the figure that other work on the machine changes least."""
    status = Path(f"/proc/{pid}/stat")
    if pid is None or not status.exists():
        return 0.0
    fields = status.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        kilobytes = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True
        ).stdout
        return int(kilobytes) / 1000
    found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text())
    assert found
    return int(found[1]) * 1024 / 1e6


def run(amount: Amount, others: dict[str, str]) -> dict[str, dict[str, float]]:
    with ExitStack() as stack:
        port, up = stack.enter_context(upstream())
        ways = [Way("direct", Place(("127.0.0.1", port), ""))]
        relay_port, relay = stack.enter_context(served("--serve-relay", str(port)))
        ways.append(Way("aiohttp relay", Place(("127.0.0.1", relay_port), ""), relay))
        ways += stack.enter_context(routerd(port))
        ways += [stack.enter_context(OTHERS[name](where, port)) for name, where in others.items()]
        idle = {way.name: _rss_mb(way.pid) if way.pid else 0.0 for way in ways}
        figures = {way.name: {**measure(way, up, amount), "idle_mb": idle[way.name]} for way in ways}
    floor = figures["direct"]
    for found in figures.values():
        found["added_us"] = found["p50_us"] - floor["p50_us"]
        found["first_added_ms"] = found["first_ms"] - floor["first_ms"]
    return figures


COLUMNS = {
    "added_us": ("added p50, us", "{:.0f}"),
    "p99_us": ("p99, us", "{:.0f}"),
    "per_second": (f"req/s at {AT_ONCE}", "{:,.0f}"),
    "per_second_cpu_us": ("CPU us a request", "{:.0f}"),
    "tokens_per_second": (f"tokens/s at {AT_ONCE}", "{:,.0f}"),
    "tokens_per_second_cpu_us": ("CPU us a token", "{:.1f}"),
    "first_added_ms": ("first token added, ms", "{:.2f}"),
    "delay_p50_ms": ("token delay p50, ms", "{:.2f}"),
    "delay_p99_ms": ("p99, ms", "{:.2f}"),
    "idle_mb": ("idle, MB", "{:.0f}"),
}


def met(figures: dict[str, float]) -> dict[str, bool]:
    """Which of the goals are met by ``figures``."""
    least = ("per_second", "tokens_per_second")
    return {name: figures[name] >= goal if name in least else figures[name] <= goal for name, goal in GOALS.items()}


def against(figures: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """routerd's figures over TCP, by each other gateway's."""
    own = figures["routerd"]
    return {
        name: {key: own[key] / found[key] for key in COLUMNS if found[key]}
        for name, found in figures.items()
        if name not in ("direct", "routerd", "routerd, Unix socket")
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="half a minute; figures are rough")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    for name, what in (("litellm", "PROGRAM"), ("tensorzero", "PYTHON"), ("portkey", "FOLDER")):
        parser.add_argument(f"--{name}", default="", metavar=what, help="measure it too")
    options = parser.parse_args()
    others = {name: where for name in OTHERS if (where := getattr(options, name))}
    figures = run(QUICK if options.quick else FULL, others)
    rows = [("", *(title for title, _ in COLUMNS.values()))]
    for name, found in figures.items():
        rows.append((name, *(form.format(found[key]) for key, (_, form) in COLUMNS.items())))
    goals = met(figures["routerd"])
    marks = [f"{GOALS[key]:,g} {'met' if goals[key] else 'MISSED'}" if key in GOALS else "" for key in COLUMNS]
    rows.append(("goal", *marks))
    if missing := ", ".join(f"--{name}" for name in OTHERS if name not in others):
        print(f"not measured: {missing}\n")
    ratios = against(figures)
    for name, found in ratios.items():
        rows.append((f"routerd, of {name}'s", *(f"{found[key]:.3g}x" if key in found else "" for key in COLUMNS)))
    everything: dict[str, Any] = {"ways": figures, "goals": GOALS, "met": goals, "tokens_a_stream": TOKENS}
    everything["ratios"] = ratios
    report("gateway", rows, everything, as_json=options.json)


if __name__ == "__main__":
    main()
