"""Hours of use in minutes: many clients, three models of which two fit, kills, reloads, and every answer compared.

    python -m benchmarks.soak [--quick] [--requests N] [--clients N] [--seconds N] [--seed N] [--json]

What is counted is looked at from outside, in ``/proc`` (Linux), and not asked of the daemon. Exits with 1
where an answer was wrong, a request had no end, or something leaked; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from typing import Any

from tests.support.daemon import Standalone, standalone_daemon
from tests.support.tiny_model import make_tiny_model
from tests.support.wait import until_blocking

from routerd.supervisor.leftovers import started_at
from routerd.supervisor.supervisor import MEASURE_S
from routerd_client import Client, DaemonUnavailableError, Done, RequestFailedError, Retracted
from routerd_client.chat import FinishReason
from routerd_client.records import Residency

from .common import machine

NAMES = ["a", "b", "c"]
PROMPTS = [f"Tell me about the {thing}. " * 4 for thing in ("fox", "dog", "route", "seven", "lazy model")]
TOKENS = 40
KILL_EVERY, RELOAD_EVERY = 47, 31
"""In whole answers, so that a daemon in trouble is given time."""
WIDTHS = [8, 6]
HEALTH = "health: {allowed_fails: 30, min_requests: 30, cooldown: 200ms, cooldown_max: 1s}"
"""A killed worker fails everybody it answered; breakers that open for that would leave little to compare."""
PLENTY = 100 * 10**9
PATIENCE_S = 60.0
"""The deadline of every request that is in no hurry; a client that hears nothing for longer gives up."""
RSS_LIMIT_PCT, QUICK_RSS_LIMIT_PCT = 5.0, 15.0
"""A tenth of the requests is too few for the daemon's allocator to have come to rest."""

Question = tuple[str, tuple[str, ...]]
"""A prompt, and the stop strings asked with it."""


@dataclass
class Tally:
    """What happened to the requests. ``lost`` are those that ended without a word, and were not left."""

    ended: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    truncated: int = 0
    over_budget: int = 0
    peak_bytes: int = 0
    most_workers: int = 0
    workers: dict[int, str] = field(default_factory=dict)
    """Every worker that was seen: its pid, and when it started."""

    def alive(self) -> int:
        """How many of the workers live."""
        return sum(started != "" and started_at(pid) == started for pid, started in self.workers.items())


def routes(models: Path, budget: int, rng: random.Random | None = None, width: int = WIDTHS[0]) -> str:
    """A routes.yaml; with ``rng`` another one each time."""
    keep = ["5m"] * 3 if rng is None else rng.choices(["5m", "10m", "1s", "forever"], k=3)
    wide = [width] * 3 if rng is None else rng.choices(WIDTHS, [4, 1], k=3)
    lines = ["version: 1", f"memory: {{budget: {budget}, max_wait: 1s}}", HEALTH, "backends:"]
    for name, alive, concurrency in zip(NAMES, keep, wide, strict=True):
        lines.append(f"  {name}: {{mlx: {{model: {models / name}, keep_alive: {alive}, concurrency: {concurrency}}}}}")
    lines += ["endpoints: {up: {fallback: [a, b, c]}, down: {fallback: [c, b, a]}}", "routes:"]
    lines += [f"  - {{match: {{task: code}}, use: {'down' if rng is None else rng.choice(NAMES)}}}", "default: up", ""]
    return "\n".join(lines)


def fields(pid: int, file: str) -> dict[str, int]:
    """The figures of a file of ``/proc/PID``, in kilobytes; none where the process is gone."""
    with suppress(OSError):
        lines = (line.split() for line in Path(f"/proc/{pid}/{file}").read_text().splitlines())
        return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}
    return {}


def workers_of(daemon: int) -> list[int]:
    """The living workers among the children of process ``daemon``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if parent == str(daemon) and b"routerd.worker" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


@contextmanager
def sampling(daemon: int, budget: int, tally: Tally) -> Iterator[None]:
    """Meanwhile, twenty times a second, the memory of all workers is summed and compared."""
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(0.05):
            pids = workers_of(daemon)
            tally.workers.update((pid, started_at(pid)) for pid in pids if pid not in tally.workers)
            tally.most_workers = max(tally.most_workers, len(pids))
            total = sum(fields(pid, "smaps_rollup").get("Pss:", 0) * 1024 for pid in pids)
            tally.peak_bytes = max(tally.peak_bytes, total)
            tally.over_budget += total > budget

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Soak:
    """One daemon, and those who ask it."""

    def __init__(self, daemon: Standalone, models: Path, seed: int) -> None:
        self.daemon = daemon
        self.models = models
        self.budget = PLENTY
        self.tally = Tally()
        self._seed = seed
        self._numbers = count(1)
        self._editing, self._counting = threading.Lock(), threading.Lock()
        self._expected: dict[tuple[str, Question], str] = {}

    def learn(self) -> None:
        """Ask everything once alone: the text that every later answer must have."""
        with self.daemon.client() as client:
            for prompt in PROMPTS:
                plain: Question = (prompt, ())
                for name in NAMES:
                    self._expected[name, plain] = self._alone(client, name, plain)
                stopped: Question = (prompt, tuple(self._expected[name, plain][20:23] for name in NAMES))
                for name in NAMES:
                    self._expected[name, stopped] = self._alone(client, name, stopped)
        self.questions = sorted({question for _, question in self._expected})

    def fit(self, clients: int) -> None:
        """Set a budget that two models fit into, and not three.

        What they claim depends on what they were seen to need, so they are used for that long first.
        """
        for width in WIDTHS:
            self._save(routes(self.models, PLENTY, width=width))
            with ThreadPoolExecutor(clients) as pool:
                ends = time.monotonic() + MEASURE_S + 2
                for using in [pool.submit(self._use, name, ends) for _, name in zip(range(clients), cycle(NAMES))]:
                    using.result()
            with self.daemon.client() as client:
                for name in NAMES:
                    client.models("unload", name)
        with self.daemon.client() as client:
            claims = [client.models("load", name).models for name in NAMES][-1]
        self.budget = int(max(model.reserved_bytes or 0 for model in claims) * 2.3)

    def _use(self, name: str, ends: float) -> None:
        with self.daemon.client() as client:
            while time.monotonic() < ends:
                for question in self.questions:
                    assert self._alone(client, name, question) == self._expected[name, question]

    def _alone(self, client: Client, name: str, question: Question) -> str:
        prompt, stop = question
        return client.chat(prompt, model=name, stop=stop, max_tokens=TOKENS, temperature=0).text

    def run(self, requests: int, clients: int, ends: float) -> None:
        """Have ``clients`` ask ``requests`` times together. Raises ``TimeoutError`` at ``ends``, monotonic."""
        left = threading.Semaphore(requests)
        pool = ThreadPoolExecutor(clients)
        asking = [
            pool.submit(self._ask_on, random.Random(self._seed + next(self._numbers)), left) for _ in range(clients)
        ]
        running = True
        while running:
            running = bool(wait(asking, timeout=min(5.0, max(0.0, ends - time.monotonic()))).not_done)
            print(f"{self.tally.ended.total()} ended: {dict(self.tally.ended)}", file=sys.stderr, flush=True)
            if running and time.monotonic() > ends:
                self.daemon.process.kill()  # lets those go that still wait
                pool.shutdown(cancel_futures=True)
                raise TimeoutError(f"not done in time; {self.tally}")
        for future in asking:
            future.result()
        pool.shutdown()

    def _ask_on(self, rng: random.Random, left: threading.Semaphore) -> None:
        with Client(self.daemon.socket, name="soak", timeout_s=PATIENCE_S + 15) as client:
            while left.acquire(blocking=False):
                pause = 0.0
                try:
                    how = self._ask(client, rng)
                except RequestFailedError as error:
                    how, pause = error.code.value, min(error.retry_after or 0.1, 1.0)
                    self.tally.said[f"{how}: {error}"] += 1
                except DaemonUnavailableError as error:
                    how = "lost"
                    self.tally.lost.append(str(error))
                with self._counting:
                    self.tally.ended[how] += 1
                    answered = self.tally.ended["done"] if how == "done" else 1
                if answered % KILL_EVERY == 0:
                    self._kill_one(rng, client)
                if answered % RELOAD_EVERY == 0:
                    with self._editing:
                        self._save(routes(self.models, self.budget, rng))
                time.sleep(pause)  # as the daemon asked

    def _save(self, text: str) -> None:
        """Have ``text`` in force."""
        scratch = self.daemon.places.config.with_suffix(".new")
        scratch.write_text(text)
        scratch.replace(self.daemon.places.config)
        with self.daemon.client() as client:
            assert not (errors := client.reload().errors), errors

    def _kill_one(self, rng: random.Random, client: Client) -> None:
        """Kill a worker, and end its back-off as an operator would: the next request may load it again."""
        models = {model.pid: model.backend for model in client.status().models}
        pid = rng.choice(workers_of(self.daemon.process.pid) or [0])
        if pid not in models:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

        def over() -> bool:
            model = next(m for m in client.status().models if m.backend == models[pid])
            if model.residency is Residency.BACKOFF:
                client.models("unload", model.backend, force=True)
            return model.residency is Residency.STOPPED or model.pid not in (None, pid)

        until_blocking(over, f"{models[pid]} may be loaded again", deadline=PATIENCE_S)

    def _ask(self, client: Client, rng: random.Random) -> str:
        """One request: how it ended, ``left`` where the client did not stay for the end."""
        question = prompt, stop = rng.choice(self.questions)
        kind = rng.choices(["whole", "stream", "leave", "disconnect", "hurry"], [35, 40, 10, 5, 10])[0]
        deadline = rng.uniform(0.005, 0.3) if kind == "hurry" else PATIENCE_S
        model = rng.choices([*NAMES, "up", "down", ""], [30, 30, 6, 10, 4, 10])[0]
        context = {"task": rng.choice(["code", "chat"])}
        full = "wait" if model in NAMES else rng.choice(["wait", "next"])
        options = {"model": model, "stop": stop, "context": context, "when_full": full, "deadline_s": deadline}
        if kind == "whole":
            done = client.chat(prompt, max_tokens=TOKENS, temperature=0, **options)
            return self._compare(done, question, done.text)
        stays = {"leave": rng.randrange(3, 12), "disconnect": 1}.get(kind)
        text = ""
        stream = client.stream(prompt, restarts=rng.random() < 0.5, max_tokens=TOKENS, temperature=0, **options)
        for seen, event in enumerate(stream, 1):
            if isinstance(event, Done):
                return self._compare(event, question, text)
            text = "" if isinstance(event, Retracted) else text + event.text
            if seen == stays:
                stream.close()
                break
        return "left"

    def _compare(self, done: Done, question: Question, text: str) -> str:
        expected = self._expected[done.backend, question]
        if done.began:  # two models wrote it
            return "continued"
        if text != expected:
            self.tally.wrong.append(f"{done.request_id} of {done.backend}: {text!r} is not {expected!r}")
            self.tally.truncated += done.finish_reason is FinishReason.STOP and expected.startswith(text)
        return "done"

    def rest(self) -> dict[str, int]:
        """What the daemon holds with the first routes.yaml, no model loaded and nobody connected but one."""
        with self.daemon.client() as client:
            self._save(routes(self.models, self.budget))
            for name in NAMES:
                client.models("unload", name, force=True)
            until_blocking(lambda: not workers_of(self.daemon.process.pid), "all workers are gone", deadline=40)
            until_blocking(lambda: client.status().connections == 1, "all connections are closed")
            pid = self.daemon.process.pid
            files = min(len(list(Path(f"/proc/{pid}/fd").iterdir())) for _ in range(50))
        return {"fds": files, "rss_kb": fields(pid, "status")["VmRSS:"]}

    def end(self) -> int:
        """Stop the daemon; returns how many workers were still alive two seconds later."""
        self.daemon.signal(signal.SIGTERM)
        self.daemon.wait()
        ends = time.monotonic() + 2.0
        while (alive := self.tally.alive()) and time.monotonic() < ends:
            time.sleep(0.05)
        return alive


def soak(options: argparse.Namespace) -> dict[str, Any]:
    """The figures. Raises ``TimeoutError`` where they were not there after ``options.seconds``."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for seed, name in enumerate(NAMES):
            make_tiny_model(folder / name, seed=seed)
        with standalone_daemon(folder, routes(folder, PLENTY)) as daemon:
            run = Soak(daemon, folder, options.seed)
            run.learn()
            run.fit(options.clients)
            print(f"all models together may take {run.budget:,} bytes", file=sys.stderr, flush=True)
            run.rest()
            with sampling(daemon.process.pid, run.budget, run.tally):
                run.run(options.requests // 5, options.clients, began + options.seconds)
                before = run.rest()
                run.run(options.requests - options.requests // 5, options.clients, began + options.seconds)
                after = run.rest()
            orphans = run.end()
    tally = run.tally
    for line, often in tally.said.most_common(10):
        print(f"{often:5} {line}", file=sys.stderr)
    for line in (*tally.wrong[:10], *tally.lost[:10]):
        print(line, file=sys.stderr)
    return {
        "requests": options.requests,
        "terminal": tally.ended.total() - tally.ended["left"] - tally.ended["lost"],
        "left": tally.ended["left"],
        "done": tally.ended["done"],
        "wrong": len(tally.wrong),
        "truncated_as_success": tally.truncated,
        "over_budget": tally.over_budget,
        "orphans": orphans,
        "fd_growth": after["fds"] - before["fds"],
        "rss_growth_pct": round((after["rss_kb"] / before["rss_kb"] - 1) * 100, 2),
        "seconds": round(time.monotonic() - began, 1),
        "errors": {how: n for how, n in sorted(tally.ended.items()) if how not in ("done", "left", "lost")},
        "budget_bytes": run.budget,
        "peak_bytes": tally.peak_bytes,
        "workers": len(tally.workers),
        "most_workers": tally.most_workers,
        "machine": machine(),
    }


def faults(figures: dict[str, Any], rss_limit_pct: float) -> list[str]:
    """What was not as it must be."""
    names = ["wrong", "truncated_as_success", "over_budget", "orphans", "fd_growth"]
    found = [f"{name}: {figures[name]}" for name in names if figures[name] != 0]
    if figures["terminal"] + figures["left"] != figures["requests"]:
        found.append("not every request had an end")
    if figures["done"] * 3 < figures["terminal"]:
        found.append("most requests failed, so this says little")
    if figures["rss_growth_pct"] > rss_limit_pct:
        found.append(f"the daemon grew by more than {rss_limit_pct:g} %")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=900, help="fail after that long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    parser.add_argument("--json", action="store_true", help="the JSON object alone on standard output")
    options = parser.parse_args()
    if options.quick:
        options.requests //= 10
    if not Path("/proc/self/smaps_rollup").exists():
        parser.error("this needs Linux's /proc")
    try:
        figures = soak(options)
    except TimeoutError as error:
        sys.exit(f"soak: {error}")
    found = faults(figures, QUICK_RSS_LIMIT_PCT if options.quick else RSS_LIMIT_PCT)
    if not options.json:
        print("\n".join(f"{name:22}{value}" for name, value in figures.items()))
    print(json.dumps(figures))
    sys.exit("soak: " + "; ".join(found) if found else 0)


if __name__ == "__main__":
    main()
