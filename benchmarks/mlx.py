"""What the daemon and its worker add to mlx-lm, and what they save, next to mlx-lm itself and its stock server.

    python -m benchmarks.mlx [--quick] [--model FOLDER] [--json] [--strict]

Everybody has the same model and is asked the same, by turns. No prompt comes twice to anybody, so that no
prompt cache helps.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from tests.support.daemon import standalone_daemon
from tests.support.tiny_model import make_tiny_model
from tests.support.worker_client import WorkerClient, ask

from .common import median, percentile, report
from .mlx_peers import Peer, Routerd, direct_process, now, stock_server

GOAL_ADDED_MS, GOAL_NEWCOMER, GOAL_LATE, GOAL_CHUNK_MS, GOAL_RATE, GOAL_RSS = 2.0, 3.0, 1, 250.0, 1.0, 1.1
STREAMS = 8
WARM_UP = 3
CONTEXT = 8192
SHORT = 8
"""Tokens of an answer of which the first counts: a first token may be half a character, and no text yet."""
LONG = 4000
"""Tokens of an answer that goes on while others are measured."""
STOCK_TURN_S = 0.5
"""The stock server looks for newcomers this often; they come at any time of its turn."""
TEXT = "Which of these two libraries parses faster, and by how much? "
ROUTES = """\
version: 1
backends: {{model: {{mlx: {{model: {model}, keep_alive: forever}}}}}}
default: model
"""

numbers = count(1)


class Amount(NamedTuple):
    """How often each is measured, and how many tokens the answers of `throughput` have."""

    first: int
    newcomer: int
    cancel: int
    throughput: int
    tokens: int


FULL, QUICK = Amount(100, 15, 20, 7, 96), Amount(8, 3, 4, 3, 32)


class Line(msgspec.Struct, frozen=True):
    """A measured value next to what it is held against. ``goal`` is empty where none is set."""

    key: str
    name: str
    unit: str
    measured: float
    baseline: float | None = None
    ratio: float | None = None
    goal: str = ""
    met: bool = True
    spread: dict[str, float] = {}


def fresh(text: str = TEXT) -> str:
    """A prompt that nobody has seen, from its first token on."""
    return f"{random.randrange(10**6)} {next(numbers)}: {text}"


def spread(values: Sequence[float]) -> dict[str, float]:
    return {f"p{share:.0%}"[:-1]: round(percentile(values, share), 2) for share in (0.1, 0.5, 0.9)}


def first_text(peer: Peer, prompt: str) -> float:
    """Milliseconds to the first text of a short answer, which is read to its end."""
    began = now()
    arrivals = list(peer.answer(prompt, SHORT))
    assert len(arrivals) > 1, "an answer without text"
    return (arrivals[0].at - began) * 1000


def added(routerd: Peer, direct: Peer, rounds: int) -> list[Line]:
    ours, theirs = [], []
    for _ in range(rounds):
        prompt = fresh()
        theirs.append(first_text(direct, prompt))
        ours.append(first_text(routerd, prompt))
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    more, quiet = median(differences), percentile(ours, 0.1) - percentile(theirs, 0.1)
    goal = f"<= {GOAL_ADDED_MS:g} more"
    return [
        _line("first_token", "first token, over mlx-lm direct", "ms", ours, theirs),
        Line(
            "added", "  added to it", "ms", round(more, 2), None, None, goal, more <= GOAL_ADDED_MS, spread(differences)
        ),
        Line("added_quiet", "  between the tenths least disturbed", "ms", round(quiet, 2)),
    ]


def _line(key: str, name: str, unit: str, ours: Sequence[float], theirs: Sequence[float], **goal: Any) -> Line:
    """Median over median."""
    pair = round(median(ours), 2), round(median(theirs), 2)
    return Line(key, name, unit, *pair, round(pair[0] / pair[1], 2), spread=spread(ours), **goal)


class Background:
    """A stream that goes on decoding until it is left."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._leave = threading.Event()
        self.started = threading.Event()
        self.last = 0.0
        self._thread = threading.Thread(target=self._read)

    @property
    def going(self) -> bool:
        return self._thread.is_alive()

    def __enter__(self) -> Background:
        self._thread.start()
        assert self.started.wait(60), "no text"
        return self

    def __exit__(self, *_error: object) -> None:
        self._leave.set()
        self._thread.join()

    def _read(self) -> None:
        for number, arrival in enumerate(self._peer.answer(fresh(), LONG)):
            self.last = arrival.at
            if number > SHORT:
                self.started.set()
            if self._leave.is_set():
                return


def newcomer(peers: dict[str, Peer], rounds: int) -> list[Line]:
    """Interleaved: each round each peer, alone and then next to another stream."""
    alone: dict[str, list[float]] = {name: [] for name in peers}
    among: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, peer in peers.items():
            alone[name].append(first_text(peer, fresh()))
            with Background(peer) as other:
                threading.Event().wait(random.random() * STOCK_TURN_S)
                among[name].append(first_text(peer, fresh()))
                met = now()
                while other.last < met:
                    assert other.going, "the other stream ended too early"
                    threading.Event().wait(0.001)
            for _ in range(2):
                first_text(peer, fresh())  # it may go on with what nobody reads any more, but not through this
    ratio = median(among["routerd"]) / median(alone["routerd"])
    goal = {"goal": f"<= {GOAL_NEWCOMER:g}x", "met": ratio <= GOAL_NEWCOMER}
    return [
        _line(
            f"newcomer_{name}", f"newcomer's first token, over alone: {name}", "ms", among[name], alone[name], **extra
        )
        for name, extra in (("routerd", goal), ("stock", {}))
    ]


def cancels(folder: Path, rounds: int) -> list[Line]:
    """On a worker of our own, where the end of the work is seen, and not just of the answer."""
    with WorkerClient(folder) as worker:
        context = worker.ready().context
        prompt = TEXT * (min(context, 4096) // 2 // len(TEXT.split()) // 4)  # a word is four tokens at most, here
        late, took, steps = [], [], []
        for _ in range(rounds):
            steps.append(_step(worker))
            tokens, ms = _cancel_decode(worker)
            late.append(float(tokens))
            took.append(ms)
        chunks = [gap for _ in range(max(2, rounds // 4)) for gap in _chunks(worker, prompt)]
        prefill = [_cancel_prefill(worker, prompt) for _ in range(rounds)]
    return [
        Line(
            "late",
            "tokens after a cancel",
            "",
            median(late),
            None,
            None,
            f"<= {GOAL_LATE}",
            median(late) <= GOAL_LATE,
            spread(late),
        ),
        _line("cancel", "cancel to the end of work, over a decode step", "ms", took, steps),
        _nine_of_ten("cancel_prefill", "cancel in the midst of a prompt, 9 of 10", prefill),
        _nine_of_ten("chunk", "a chunk of a long prompt, 9 of 10", chunks),
    ]


def _nine_of_ten(key: str, name: str, values: Sequence[float]) -> Line:
    value = percentile(values, 0.9)
    return Line(
        key, name, "ms", round(value, 1), None, None, f"<= {GOAL_CHUNK_MS:g}", value <= GOAL_CHUNK_MS, spread(values)
    )


def _step(worker: WorkerClient) -> float:
    """Milliseconds of a decode step."""
    id_ = worker.start(ask(fresh(), max_tokens=40))
    pieces = worker.answers[id_]
    worker.wait(lambda: len(pieces.pieces) >= 4)
    began, before = now(), len(pieces.pieces)
    worker.result(id_)
    return (now() - began) * 1000 / (len(pieces.pieces) - before)


def _cancel_decode(worker: WorkerClient) -> tuple[int, float]:
    """Tokens that came after the cancel, and milliseconds until the worker says that it has stopped."""
    id_ = worker.start(ask(fresh(), max_tokens=LONG))
    answer = worker.answers[id_]
    worker.wait(lambda: len(answer.pieces) >= SHORT)
    before, began = len(answer.pieces), now()
    worker.cancel(id_)
    assert worker.result(id_).failed
    return len(answer.pieces) - before, (now() - began) * 1000


def _chunks(worker: WorkerClient, prompt: str) -> Iterator[float]:
    """Milliseconds of each chunk of a long prompt."""
    id_, times = worker.start(ask(fresh(prompt), max_tokens=1)), [now()]
    answer = worker.answers[id_]
    while not answer.end:
        worker.wait(lambda: len(answer.prefills) >= len(times) or answer.end is not None)
        times.append(now())
    return ((b - a) * 1000 for a, b in pairwise(times[1:-1]))


def _cancel_prefill(worker: WorkerClient, prompt: str) -> float:
    id_ = worker.start(ask(fresh(prompt), max_tokens=1))
    answer = worker.answers[id_]
    worker.wait(lambda: bool(answer.prefills))
    began = now()
    worker.cancel(id_)
    worker.result(id_)
    return (now() - began) * 1000


def rate(peer: Peer, prompts: list[str], tokens: int) -> float:
    """Tokens a second of as many streams as there are prompts."""
    found = [0] * len(prompts)

    def read(index: int) -> None:
        for arrival in peer.answer(prompts[index], tokens):
            found[index] += arrival.tokens

    threads = [threading.Thread(target=read, args=(index,)) for index in range(len(prompts))]
    began = now()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found), "a stream without an end"
    return sum(found) / (now() - began)


def throughput(routerd: Peer, stock: Peer, amount: Amount) -> list[Line]:
    ours, theirs = [], []
    for number in range(amount.throughput):
        prompts = [fresh() for _ in range(STREAMS)]
        turns = [(routerd, ours), (stock, theirs)]
        for peer, rates in turns[:: 1 if number % 2 else -1]:
            rates.append(rate(peer, prompts, amount.tokens))
    met = median(ours) >= GOAL_RATE * median(theirs)
    return [_line("rate", f"{STREAMS} streams, over stock", "tok/s", ours, theirs, goal=f">= {GOAL_RATE:g}x", met=met)]


def resident(pid: int) -> float:
    """Megabytes."""
    return int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(pid)])) / 1024


def memory(routerd: Peer, direct: Peer, tokens: int) -> list[Line]:
    """Before anything else: one answer each, of processes that have done nothing yet."""
    prompt, sizes = fresh(), []
    for peer in (routerd, direct):
        assert list(peer.answer(prompt, tokens))[-1].tokens
        sizes.append([resident(peer.pid)])
    met = sizes[0][0] <= GOAL_RSS * sizes[1][0]
    return [_line("rss", "RSS, over mlx-lm direct", "MB", *sizes, goal=f"<= {GOAL_RSS:g}x", met=met)]


def run(model: Path, scratch: Path, amount: Amount) -> list[Line]:
    scratch.mkdir()
    with ExitStack() as stack:
        daemon = stack.enter_context(standalone_daemon(scratch, ROUTES.format(model=model)))
        client = stack.enter_context(daemon.client())
        client.models("load", "model")
        routerd = Routerd(client, daemon.workers()[0])
        direct = stack.enter_context(direct_process(model))
        lines = memory(routerd, direct, amount.tokens)
        added(routerd, direct, WARM_UP)
        lines += added(routerd, direct, amount.first)
        stock = stack.enter_context(stock_server(model, scratch / "stock.log"))
        lines += newcomer({"routerd": routerd, "stock": stock}, amount.newcomer)
        throughput(routerd, stock, amount._replace(throughput=1))
        lines += throughput(routerd, stock, amount)
    return lines + cancels(model, amount.cancel)


def rows(found: dict[str, list[Line]]) -> list[tuple[str, ...]]:
    heading = ("", "measured", "tenth .. nine tenths", "baseline", "ratio", f"goal{'':9}")
    return [heading, *(_row(model, line) for model, lines in found.items() for line in lines)]


def _row(model: str, line: Line) -> tuple[str, ...]:
    name = f"{model}: {line.name}" + (f", {line.unit}" if line.unit else "")
    baseline, ratio = ("" if value is None else f"{value:g}" for value in (line.baseline, line.ratio))
    goal = f"{line.goal}  {'ok    ' if line.met else 'MISSED'}" if line.goal else ""
    between = f"{line.spread['p10']:g} .. {line.spread['p90']:g}" if line.spread else ""
    return name, f"{line.measured:g}", between, baseline, ratio, goal


def models(options: argparse.Namespace, folder: Path) -> dict[str, Path]:
    if options.model:
        return {options.model.name: options.model.absolute()}
    made = {"tiny": make_tiny_model(folder / "tiny", context=CONTEXT)}
    if not options.quick:
        made["wide"] = make_tiny_model(folder / "wide", context=CONTEXT, hidden=512)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mlx", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rounds, and no wide model; figures are rough")
    parser.add_argument("--model", type=Path, help="a folder in mlx-lm's format, in place of those made on the spot")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a goal is missed")
    options = parser.parse_args()
    if options.model and not (options.model / "config.json").is_file():
        parser.error(f"{options.model} is no model folder: there is no config.json in it")
    amount = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        found = {name: run(path, folder / f"run-{name}", amount) for name, path in models(options, folder).items()}
    met = all(line.met for lines in found.values() for line in lines)
    figures = {name: {line.key: msgspec.to_builtins(line) for line in lines} for name, lines in found.items()}
    report("mlx", rows(found), {"models": figures, "met": met}, as_json=options.json)
    if options.strict and not met:
        sys.exit(1)


if __name__ == "__main__":
    main()
