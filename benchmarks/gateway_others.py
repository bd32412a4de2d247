"""Other gateways, as `gateway` runs them: each a process of one worker, told to do nothing but pass requests on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from msgspec import Struct
from tests.support.daemon import short_folder

from .gateway_load import Model, Place

START_S = 90.0
MODELS = get_args(Model)
_TENSORZERO = """
import sys, time
from tensorzero import _start_http_gateway

gateway = _start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
print(gateway.base_url, flush=True)
time.sleep(1e6)
"""


class Way(Struct, frozen=True):
    """One way to the upstream. ``pid`` is the process in between, None for none."""

    name: str
    place: Place
    pid: int | None = None


@contextmanager
def litellm(program: str, port: int) -> Iterator[Way]:
    """LiteLLM's proxy: ``program`` is its ``litellm``."""
    base = f"http://127.0.0.1:{port}/v1"
    config = {
        "model_list": [
            {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": base, "api_key": "k"}}
            for name in MODELS
        ],
        "general_settings": {"master_key": "sk-benchmark-4711"},
    }
    with short_folder() as folder:
        file = _written(folder / "config.yaml", json.dumps(config))
        own = _free_port()
        command = [program, "--config", str(file), "--port", str(own), "--host", "127.0.0.1"]
        with _listening(command, folder, own) as pid:
            yield Way("LiteLLM", Place(("127.0.0.1", own), "authorization: Bearer sk-benchmark-4711\r\n"), pid)


@contextmanager
def tensorzero(python: str, port: int) -> Iterator[Way]:
    """TensorZero's gateway, which keeps no records: ``python`` is one that has its package."""
    lines = ["[gateway]", "observability.enabled = false"]
    for name in MODELS:
        lines += [f"[models.{name}]", 'routing = ["up"]', f"[models.{name}.providers.up]", 'type = "openai"']
        lines += [f'model_name = "{name}"', f'api_base = "http://127.0.0.1:{port}/v1"', 'api_key_location = "none"']
    with short_folder() as folder:
        file = _written(folder / "tensorzero.toml", "\n".join(lines))
        program = _written(folder / "serve.py", _TENSORZERO)
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [python, str(program), str(file)], stdout=subprocess.PIPE, stderr=log, text=True, env=_environment()
            )
        try:
            assert process.stdout
            url = next((line for line in process.stdout if line.startswith("http")), "")
            assert url, (folder / "log").read_text()[-2000:]
            address = ("127.0.0.1", int(url.split(":")[2].partition("/")[0]))
            place = Place(address, "", path="/openai/v1/chat/completions", prefix="tensorzero::model_name::")
            yield Way("TensorZero", place, process.pid)
        finally:
            process.kill()
            process.wait()


@contextmanager
def portkey(folder: str, port: int) -> Iterator[Way]:
    """Portkey's gateway: ``folder`` is where npm has put it."""
    own = _free_port()
    server = Path(folder) / "node_modules/@portkey-ai/gateway/build/start-server.js"
    headers = "authorization: Bearer k\r\nx-portkey-provider: openai\r\n"
    headers += f"x-portkey-custom-host: http://127.0.0.1:{port}/v1\r\n"
    with (
        short_folder() as scratch,
        _listening(["node", str(server), f"--port={own}", "--headless"], scratch, own) as pid,
    ):
        yield Way("Portkey", Place(("127.0.0.1", own), headers), pid)


@contextmanager
def _listening(command: Sequence[str], folder: Path, port: int) -> Iterator[int]:
    """The process of ``command``, once it listens."""
    with (folder / "log").open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=_environment())
    try:
        end = time.monotonic() + START_S
        while not _answers(port):
            said = (folder / "log").read_text()[-2000:]
            assert process.poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(0.2)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    mine = {"PYTHONPATH"}
    return {**{name: value for name, value in os.environ.items() if name not in mine}, "LITELLM_LOG": "ERROR"}


def _written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
