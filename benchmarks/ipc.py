"""What the daemon adds on its socket: a decision's round trip and rate, and a small model's answer.

    python -m benchmarks.ipc [--quick] [--json]

The floor, in the same run: a uvloop ``Protocol`` in a process of its own that decodes the same
request and encodes the same result, and decides nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import uvloop
from tests.support.daemon import Standalone, short_folder, standalone_daemon
from tests.support.tiny_model import make_tiny_model

from routerd_client import Client
from routerd_client.chat import ChatRequest, Message
from routerd_client.framing import FrameBuffer, pack
from routerd_client.protocol import Done, Error, Route, RouteResult, encoder, event_decoder, request_decoder
from routerd_client.records import Candidate, Decision

from .common import median, percentile, pin, report, unpin

IN_FLIGHT = 64
GOAL_RATIO, GOAL_RATE = 5.0, 15_000
PROMPT = "Which of these two libraries parses faster, and by how much? " * 3
CONTEXT = {"platform": "discord", "source_kind": "owner", "task": "chat"}
CHAT = ChatRequest(messages=[Message("user", PROMPT)], context=CONTEXT)
FRAMES = [pack(encoder.encode(Route(id=number, chat=CHAT))) for number in range(1, IN_FLIGHT + 1)]
DECISION = Decision(route="", endpoint="primary", candidates=[Candidate("small", ["first choice", "loaded"])] * 2)

ROUTES = """\
version: 1
backends:
  small: {{mlx: {{model: {model}, keep_alive: forever}}}}
  large: {{mlx: {{model: {model}}}}}
endpoints: {{primary: {{fallback: [small, large]}}}}
routes:
  - {{match: {{platform: telegram}}, use: small}}
  - {{match: {{source_kind: stranger}}, use: small, set: {{max_tokens: 64}}}}
  - {{match: {{task: [plan, design]}}, use: large}}
  - {{match: {{platform: discord, task: code}}, use: large}}
default: primary
"""


class Floor(asyncio.Protocol):
    """Decodes a request, encodes a result."""

    def __init__(self) -> None:
        self._frames = FrameBuffer()
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's does not inherit it

    def data_received(self, data: bytes) -> None:
        requests = map(request_decoder.decode, self._frames.feed(data))
        results = [pack(encoder.encode(RouteResult(id=request.id, decision=DECISION))) for request in requests]
        self._transport.write(b"".join(results))


async def serve_floor(path: str) -> None:
    server = await asyncio.get_running_loop().create_unix_server(Floor, path)
    await server.serve_forever()


@contextmanager
def floor_server() -> Iterator[tuple[Path, int]]:
    with short_folder() as folder:
        path = folder / "floor.sock"
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.ipc", "--serve-floor", str(path)])
        try:
            while not path.is_socket():
                assert process.poll() is None, "the floor's server ended"
                time.sleep(0.01)
            yield path, process.pid
        finally:
            process.kill()
            process.wait()


class Peer:
    """A raw connection that counts frames."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self._frames = FrameBuffer()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()

    def receive(self) -> list[bytes]:
        return self._frames.feed(self.socket.recv(1 << 20))

    def check(self) -> None:
        """One decision, looked at: what is measured must be an answer."""
        self.socket.sendall(FRAMES[0])
        answer = event_decoder.decode(self.receive()[0])
        assert isinstance(answer, RouteResult), answer

    def round_trips(self, count: int) -> list[float]:
        """Microseconds of each, one in flight."""
        times = []
        for _ in range(count):
            began = time.perf_counter_ns()
            self.socket.sendall(FRAMES[0])
            while not self.receive():
                pass
            times.append((time.perf_counter_ns() - began) / 1000)
        return times

    def rate(self, count: int) -> float:
        """Answers a second with `IN_FLIGHT` requests in flight; as many are sent as have come."""
        began, received = time.perf_counter(), 0
        self.socket.sendall(b"".join(FRAMES))
        while received < count:
            came = len(self.receive())
            received += came
            self.socket.sendall(b"".join(FRAMES[:came]))
        seconds = time.perf_counter() - began
        outstanding = IN_FLIGHT
        while outstanding > 0:
            outstanding -= len(self.receive())
        return received / seconds


def measure(path: Path, pid: int, *, rounds: int, trips: int, answers: int) -> dict[str, float]:
    """Medians over ``rounds``. One in flight: both ends on one core. Many: a core each."""
    with Peer(path) as peer:
        peer.check()
        p50s, p99s, rates = [], [], []
        for _ in range(rounds):
            pin(0, 0)
            pin(pid, 0)
            peer.round_trips(trips // 10)
            times = peer.round_trips(trips)
            p50s.append(median(times))
            p99s.append(percentile(times, 0.99))
            pin(pid, 1)
            rates.append(peer.rate(answers))
    unpin(0)
    unpin(pid)
    return {"p50_us": round(median(p50s), 1), "p99_us": round(median(p99s), 1), "per_second": round(median(rates))}


def chats(client: Client, count: int) -> dict[str, float]:
    """Milliseconds for 16 tokens of the tiny model: to the first text, and in all; streamed and whole."""
    first, streamed, whole = [], [], []
    for _ in range(count):
        began = time.perf_counter()
        seen = 0.0
        for event in client.stream(PROMPT, max_tokens=16, temperature=0):
            if event.text and not seen:
                seen = time.perf_counter()
            assert not isinstance(event, Error)
        first.append((seen - began) * 1000)
        streamed.append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        done = client.chat(PROMPT, max_tokens=16, temperature=0)
        assert isinstance(done, Done)
        assert done.usage.completion_tokens == 16
        whole.append((time.perf_counter() - began) * 1000)
    figures = {"ttft_ms": first, "stream_16_ms": streamed, "whole_16_ms": whole}
    return {name: round(median(values), 2) for name, values in figures.items()}


def run(daemon: Standalone, *, quick: bool) -> tuple[list[tuple[str, ...]], dict[str, object]]:
    amount = (
        {"rounds": 1, "trips": 1000, "answers": 10_000} if quick else {"rounds": 5, "trips": 5000, "answers": 60_000}
    )
    with floor_server() as (path, pid):
        floor = measure(path, pid, **amount)
    with daemon.client() as client:
        client.models("load", "small")
        route = measure(daemon.socket, daemon.process.pid, **amount)
        chat = chats(client, 10 if quick else 50)
    ratio = round(route["p50_us"] / floor["p50_us"], 2)
    met = {"ratio": ratio <= GOAL_RATIO, "rate": route["per_second"] >= GOAL_RATE}
    rows = [
        ("", "floor", "routerd", "ratio", f"goal{'':8}"),
        (
            "round trip p50, 1 in flight, us",
            *_pair(floor, route, "p50_us"),
            f"<= {GOAL_RATIO:g}x    {_met(met['ratio'])}",
        ),
        ("round trip p99, us", *_pair(floor, route, "p99_us"), ""),
        (
            f"decisions/s, {IN_FLIGHT} in flight",
            f"{floor['per_second']:,}",
            f"{route['per_second']:,}",
            f"{floor['per_second'] / route['per_second']:.1f}",
            f">= {GOAL_RATE:,} {_met(met['rate'])}",
        ),
        ("tiny model, first token, ms", "", f"{chat['ttft_ms']}", "", ""),
        ("tiny model, 16 tokens streamed, ms", "", f"{chat['stream_16_ms']}", "", ""),
        ("tiny model, 16 tokens whole, ms", "", f"{chat['whole_16_ms']}", "", ""),
    ]
    goals = {"ratio_at_most": GOAL_RATIO, "decisions_per_second_at_least": GOAL_RATE, "met": all(met.values())}
    return rows, {"floor": floor, "route": route, "ratio_p50": ratio, "chat": chat, "goals": goals}


def _pair(floor: dict[str, float], route: dict[str, float], name: str) -> tuple[str, str, str]:
    return f"{floor[name]:.1f}", f"{route[name]:.1f}", f"{route[name] / floor[name]:.1f}"


def _met(goal: bool) -> str:
    return "met" if goal else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ipc", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds; figures are rough")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--serve-floor", metavar="PATH", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_floor:
        uvloop.run(serve_floor(options.serve_floor))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = make_tiny_model(folder / "tiny")
        with standalone_daemon(folder, ROUTES.format(model=model)) as daemon:
            rows, figures = run(daemon, quick=options.quick)
    report("ipc", rows, figures, as_json=options.json)


if __name__ == "__main__":
    main()
