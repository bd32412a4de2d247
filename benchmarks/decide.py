"""What a decision costs, what the scorers cost, and what a reload costs those who ask meanwhile.

    python -m benchmarks.decide [--quick] [--json]

The first figures are of pure functions in this process. The last is of the real daemon in a process of its
own: while it reloads a file of 1 000 routes again and again, a client asks for decisions back to back; the
longest round trip is told beside the longest without any reload.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.daemon import Standalone, standalone_daemon

from routerd.config.load import load
from routerd.routing.classify.complexity import complexity
from routerd.routing.classify.text import prompt_features
from routerd.routing.classify.train import Example, train
from routerd.routing.decide import decide
from routerd.routing.expect import AllWell
from routerd.routing.features import Features
from routerd.routing.table import Table, compile_table
from routerd_client import Client
from routerd_client.chat import ChatRequest, Message

from .common import median, percentile, report

GOALS = {"decide_us": 30.0, "rules_2kb_us": 50.0, "learned_2kb_us": 300.0, "load_1000_ms": 150.0, "busy_max_ms": 10.0}
ASK = "Compare these two ways to shard the index, and then write a plan in 4 steps. " * 26
"""2 KB."""
CONTEXT = {"platform": "discord", "source_kind": "owner", "task": "task143", "channel": "c3"}


def routes_yaml(routes: int, *, mark: int = 0) -> str:
    """12 backends, nested endpoints, and ``routes`` of the kinds people write; ``mark`` makes another file of it."""
    lines = ["version: 1", "backends:"]
    lines += [f"  b{n}: {{mlx: {{model: org/model-{n}}}, tags: [t{n % 3}]}}" for n in range(12)]
    lines += ["endpoints:"]
    lines += ["  primary: {fallback: [{weighted: {b0: 3, b1: 1}}, {balance: [b2, b3]}, b4]}", "  all:", "    fallback:"]
    lines += [f"      - b{n}" for n in range(12)]
    lines += ["default: all", f"log: {{level: {('info', 'warning')[mark % 2]}}}", "routes:"]
    for n in range(routes):
        match = (
            f"{{source_kind: 'peer-{n}-*'}}",
            f"{{task: task{n}, platform: [discord, cli]}}",
            f"{{channel: c{n}, source_kind: stranger}}",
            f"{{task: task{n}, prompt: [secret{n}, very rare{n}]}}",
        )[1 + n % 3 if n % 20 else 0]
        lines.append(
            f"  - {{name: r{n}, match: {match}, use: {('primary', 'all')[n % 2]}, set: {{max_tokens: {n + 1}}}}}"
        )
    return "\n".join(lines) + "\n"


def timed(what: Callable[[], object], *, rounds: int, count: int) -> float:
    """Microseconds of CPU of one call: the median over ``rounds`` of the mean of ``count``. Both cores of a shared
    machine may be busy; what a pure function computes is steadier than what it waits."""
    means = []
    for _ in range(rounds):
        began = time.thread_time_ns()
        for _ in range(count):
            what()
        means.append((time.thread_time_ns() - began) / count / 1000)
    return median(means)


def deciding(table: Table, prompt: str) -> Callable[[], object]:
    chat = ChatRequest(messages=[Message("user", prompt)], context=CONTEXT)
    view = AllWell()
    return lambda: decide(table, Features(chat), view, seed="a1b2c3d4e5f6")


def learned_scorer() -> Callable[[], object]:
    """A linear scorer trained on made-up outcomes, on `ASK`."""
    rows = []
    for n in range(400):
        text = " ".join(f"word{(n * k) % 997} of sort{(n + k) % 53}" for k in range(1, 40))
        rows.append(Example(prompt_features(text), float(n % 2), text))
    linear = train(rows)
    return lambda: linear.score(prompt_features(ASK))


def loading(text: str) -> Callable[[], object]:
    return lambda: compile_table(load(text, "routes.yaml").config)


def round_trips(client: Client, ended: Callable[[], bool]) -> list[float]:
    """Milliseconds of decisions asked for back to back."""
    times = []
    while not ended():
        began = time.perf_counter_ns()
        client.route(ASK, context=CONTEXT)
        times.append((time.perf_counter_ns() - began) / 1e6)
    return times


def reloading(daemon: Standalone, *, reloads: int, seconds: float) -> dict[str, float]:
    """Milliseconds of decisions' round trips without reloads and during them, and of a reload."""
    files = [routes_yaml(1000, mark=mark) for mark in (1, 0)]
    took: list[float] = []

    def reload() -> None:
        with daemon.client() as client:
            for number in range(reloads):
                daemon.places.config.write_text(files[number % 2])
                began = time.perf_counter()
                result = client.reload()
                took.append((time.perf_counter() - began) * 1000)
                assert not result.errors, result.errors

    with daemon.client() as client:
        until = time.perf_counter() + seconds
        quiet = round_trips(client, lambda: time.perf_counter() > until)
        thread = threading.Thread(target=reload)
        thread.start()
        busy = round_trips(client, lambda: not thread.is_alive())
        thread.join()
    assert len(took) == reloads
    return {
        "quiet_p50_ms": median(quiet),
        "quiet_max_ms": max(quiet),
        "busy_p50_ms": median(busy),
        "busy_p99_ms": percentile(busy, 0.99),
        "busy_max_ms": max(busy),
        "reload_ms": median(took),
    }


def run(*, quick: bool) -> dict[str, float]:
    rounds, count = (5, 200) if quick else (15, 1000)
    table = compile_table(load(routes_yaml(200), "routes.yaml").config)
    text = routes_yaml(1000)
    figures = {
        "decide_us": timed(deciding(table, "What time is it?"), rounds=rounds, count=count),
        "decide_2kb_us": timed(deciding(table, ASK), rounds=rounds, count=count),
        "rules_2kb_us": timed(lambda: complexity(ASK), rounds=rounds, count=count),
        "learned_2kb_us": timed(learned_scorer(), rounds=rounds, count=count // 4),
        "load_1000_ms": timed(loading(text), rounds=rounds, count=1) / 1000,
    }
    with tempfile.TemporaryDirectory() as scratch, standalone_daemon(Path(scratch), text) as daemon:
        figures |= reloading(daemon, reloads=5 if quick else 20, seconds=1 if quick else 3)
    return {name: round(value, 2) for name, value in figures.items()}


def rows(figures: dict[str, float]) -> list[tuple[str, ...]]:
    def row(what: str, name: str) -> tuple[str, ...]:
        goal = GOALS.get(name)
        said = "" if goal is None else f"<= {goal:g} {'met' if figures[name] <= goal else 'MISSED'}"
        return what, f"{figures[name]:g} {name[-2:]}", said

    return [
        ("", "median", "goal"),
        row("a decision among 200 routes and 12 backends", "decide_us"),
        row("  where a route looks for words in 2 KB", "decide_2kb_us"),
        row("complexity by rules, 2 KB", "rules_2kb_us"),
        row("complexity as learned, 2 KB", "learned_2kb_us"),
        row("load and compile 1 000 routes", "load_1000_ms"),
        row("the daemon reloads them", "reload_ms"),
        row("round trip of a decision, no reload", "quiet_p50_ms"),
        row("  the longest", "quiet_max_ms"),
        row("round trip of a decision, reloads going on", "busy_p50_ms"),
        row("  one in a hundred takes longer than", "busy_p99_ms"),
        row("  the longest", "busy_max_ms"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decide", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds; figures are rough")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    figures = run(quick=options.quick)
    met = {name: figures[name] <= goal for name, goal in GOALS.items()}
    report("decide", rows(figures), {**figures, "goals": GOALS, "met": met}, as_json=options.json)


if __name__ == "__main__":
    main()
