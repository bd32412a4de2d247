"""Three ways to one model, asked alike: through the daemon, the stock ``mlx_lm.server``, and mlx-lm as a library."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tests.support.wait import until_blocking

from routerd_client import Client
from routerd_client.protocol import Done

now = time.perf_counter
LOCAL = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
START_S = 60.0


class Arrival(NamedTuple):
    """Something came at ``at`` (of `now`): text, or at the answer's end its ``tokens``."""

    at: float
    tokens: int = 0


class Peer(Protocol):
    """Who answers. Leaving the iteration before its end hangs up."""

    pid: int

    def answer(self, prompt: str, max_tokens: int) -> Iterator[Arrival]:
        """A greedy, streamed answer to one user message."""


class Routerd:
    """The daemon, which has the model loaded."""

    def __init__(self, client: Client, worker: int) -> None:
        self._client = client
        self.pid = worker

    def answer(self, prompt: str, max_tokens: int) -> Iterator[Arrival]:
        for event in self._client.stream(prompt, max_tokens=max_tokens, temperature=0):
            if isinstance(event, Done):
                yield Arrival(now(), event.usage.completion_tokens)
            elif event.text:
                yield Arrival(now())


class Stock:
    """``python -m mlx_lm server``: one connection a request, server-sent events."""

    def __init__(self, port: int, pid: int) -> None:
        self._port = port
        self.pid = pid

    def answer(self, prompt: str, max_tokens: int) -> Iterator[Arrival]:
        body = {"model": "default_model", "messages": [{"role": "user", "content": prompt}], "temperature": 0}
        body |= {"max_tokens": max_tokens, "stream": True, "stream_options": {"include_usage": True}}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        # Closed by hand: what reads a response would read it to its end before it lets go of the socket.
        response = None
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            assert response.status == HTTPStatus.OK, response.read()
            for line in response:
                if line.startswith(b"data: {"):
                    yield from _arrivals(json.loads(line[6:]))
        finally:
            if response:
                response.close()
            connection.close()

    def ready(self) -> bool:
        """Only an answer proves it: its health is ok before the model is loaded."""
        try:
            return any(arrival.tokens for arrival in self.answer("hello", 1))
        except (OSError, AssertionError):
            return False


def _arrivals(chunk: dict[str, Any]) -> Iterator[Arrival]:
    if any(choice["delta"].get("content") for choice in chunk["choices"]):
        yield Arrival(now())
    if usage := chunk.get("usage"):
        yield Arrival(now(), usage["completion_tokens"])


@contextmanager
def stock_server(model: Path, log: Path) -> Iterator[Stock]:
    """The stock server with its own defaults, answering; ended with its process group."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlx_lm", "server", "--model", str(model), "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=LOCAL, start_new_session=True)
    try:
        stock = Stock(port, process.pid)

        def answers() -> bool:
            assert process.poll() is None, f"the stock server ended: {log.read_text()[-500:]}"
            return stock.ready()

        until_blocking(answers, f"the stock server answers; see {log}", deadline=START_S)
        yield stock
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Direct:
    """mlx-lm's own ``stream_generate``, warm in a process of its own. It times itself: there is nothing in between."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        assert self._receive() == "ready"

    def answer(self, prompt: str, max_tokens: int) -> Iterator[Arrival]:
        """As of `Peer`; its arrivals come all at once, and count from when it began."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([prompt, max_tokens]) + "\n")
        self._process.stdin.flush()
        began, arrived, tokens = now(), *self._receive()
        yield from (Arrival(began + seconds) for seconds in arrived)
        yield Arrival(began + arrived[-1], tokens)

    def _receive(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextmanager
def direct_process(model: Path) -> Iterator[Direct]:
    command = [sys.executable, "-m", "benchmarks.mlx_peers", str(model)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=LOCAL)
    try:
        yield Direct(process)
    finally:
        process.kill()
        process.communicate()


def serve_direct(model_folder: str) -> None:
    from mlx_lm import load, stream_generate

    model, tokenizer = load(model_folder)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        prompt, max_tokens = json.loads(line)
        began, arrived, last = now(), [], None
        ids = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True)
        for last in stream_generate(model, tokenizer, ids, max_tokens=max_tokens):
            if last.text:
                arrived.append(now() - began)
        print(json.dumps([arrived, last.generation_tokens if last else 0]), flush=True)


if __name__ == "__main__":
    serve_direct(sys.argv[1])
