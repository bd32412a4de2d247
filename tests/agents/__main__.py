"""``python -m tests.agents [NAME ...]``: real agents, one-shot, against a real daemon, in a network that leads nowhere.

Each is set up by what ``routerctl`` writes into a home of its own, then asked three things: for words, for a tool call,
both of a scripted backend, and for words of a small real model. Only a route that matches the agent's own name leads to
these: the default answers something else. Prints a table; exits with 1 where anything failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import anyio

from routerd.ctl.common import table
from routerd_client.errors import RouterdError
from routerd_client.protocol import RoutesResult
from tests.support.daemon import Standalone, make_places, short_folder

from .clients import CLIENTS, ECHOED, Client, edit
from .install import CACHE, install, program
from .scripted import Scripted, scripted
from .talker import make_talker

CONTEXT = 131_072
WAIT_S = 240.0
WORDS = "Pineapples grow slowly"
SENTENCE = "routes requests quickly"
ASTRAY = "Nobody matched this"
"""The default's answer, for an agent that does not reach its route."""
ROUTE = "its-own"
LISTEN = "127.0.0.1:8765"
NONE = "has none"
COLUMNS = ("text", "tool call", "own route", "local model")
INSIDE = "ROUTERD_AGENTS_INSIDE"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="the beginning of an agent's name; all where absent")
    parser.add_argument("--show", action="store_true", help="print what each agent printed")
    options = parser.parse_args()
    clients = [one for one in CLIENTS if not options.names or one.name.startswith(tuple(options.names))]
    if INSIDE not in os.environ:
        if not shutil.which("unshare") or not shutil.which("ip"):
            sys.exit("the agents run in a network of their own: this needs Linux's unshare and ip")
        for client in clients:
            install(client)
        # What is not on loopback does not exist there: neither APIs nor updates nor telemetry.
        inside = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "-m", "tests.agents"]
        os.execvpe("unshare", ["unshare", "-rn", *inside, *sys.argv[1:]], {**os.environ, INSIDE: "1"})
    sys.exit(anyio.run(run, clients, options.show))


async def run(clients: list[Client], show: bool) -> int:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        talker = make_talker(Path(folder) / "talker", SENTENCE, context=CONTEXT)
        async with scripted(WORDS) as backend, scripted(ASTRAY) as default:
            for client in clients:
                home = Path(folder) / client.name.replace(" ", "-").replace(",", "")
                home.mkdir()
                files = {name: routes(client, backend, default, talker, name) for name in ("scripted", "local")}
                with daemon(home, files["scripted"]) as running:
                    rows.append(await _Trial(client, home, running, backend, files["local"], show).row())
                sys.stderr.write(f"{rows[-1]}\n")
    sys.stdout.write(f"{table(rows)}\n")
    return int(any(row["result"] != "ok" for row in rows))


def routes(client: Client, backend: Scripted, default: Scripted, talker: Path, answers: str) -> str:
    """A routes.yaml with a route for ``client`` alone, which ``answers`` answers; ``default`` answers all others."""
    local = {"model": str(talker), "kv_tokens": CONTEXT, "keep_alive": "forever"}
    return json.dumps(
        {
            "backends": {
                "scripted": {"openai": {"model": "m", "base_url": backend.base_url, "context": CONTEXT}},
                "local": {"mlx": local},
                "default": {"openai": {"model": "m", "base_url": default.base_url, "context": CONTEXT}},
            },
            "endpoints": {"primary": {"fallback": ["default"]}, "own": {"fallback": [answers]}},
            "routes": [{"name": ROUTE, "match": {"client": client.known_as}, "use": "own"}],
            "default": "primary",
            "http": {"listen": LISTEN},
        }
    )


def _taken(routes: RoutesResult) -> str:
    """``yes`` where every request of the agent's conversation took the route."""
    hits = {route.name: route.hits for route in routes.routes}
    if hits.get(ROUTE) and not routes.named:
        return "yes"
    return f"{hits.get(ROUTE, 0)} times, {routes.default} by none, {routes.named} named a model"


@contextmanager
def daemon(home: Path, text: str) -> Iterator[Standalone]:
    (home / "routes.yaml").write_text(text)
    with short_folder() as sockets:
        running = Standalone(make_places(home, sockets))
        try:
            running.answers()
            yield running
            assert running.process.poll() is None, f"the daemon ended: {running.stderr}"
        finally:
            running.process.kill()
            running.process.wait()


class _Trial:
    """One agent: its home, and what it makes of three requests. ``local`` is the routes.yaml of the last."""

    def __init__(
        self, client: Client, home: Path, running: Standalone, backend: Scripted, local: str, show: bool
    ) -> None:
        self._client = client
        self._home = home
        self._running = running
        self._backend = backend
        self._local = local
        self._show = show
        self._environment = self._base()

    async def row(self) -> dict[str, str]:
        row = {"agent": self._client.name, "version": self._client.version}
        try:
            await self._set_up()
            row["text"] = await self._text("say hello", WORDS)
            row["tool call"] = await self._tool_call()
            with self._running.client() as client:
                row["own route"] = _taken(client.routes())
                self._running.places.config.write_text(self._local)
                client.reload()
            row["local model"] = await self._text("say hello again", SENTENCE)
        except subprocess.CalledProcessError as error:
            self._print(f"{error.cmd}: {error.stdout}{error.stderr}")
            return row | dict.fromkeys(COLUMNS, "") | {"result": "cannot be set up"}
        except RouterdError as error:
            return dict.fromkeys(COLUMNS, "") | row | {"result": f"{error}; the daemon said: {self._running.stderr}"}
        wrong = [what for what in COLUMNS if row[what] not in ("yes", NONE)]
        return row | {"result": f"no {', '.join(wrong)}" if wrong else "ok"}

    async def _set_up(self) -> None:
        client = self._client
        if client.from_environment:
            told = await self._ctl("env", client.harness, "--json", *client.init)
            self._environment |= json.loads(told)
        else:
            await self._ctl("init", "--harness", client.harness, "--write", *client.init)
        for file, patch in client.edits.items():
            edit(self._home / file, patch)

    async def _ctl(self, *arguments: str) -> str:
        command = [sys.executable, "-c", "from routerd.ctl import main; main()", *arguments]
        done = await anyio.run_process(command, env=self._environment, cwd=self._home, check=False)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, arguments, done.stdout.decode(), done.stderr.decode())
        return done.stdout.decode()

    async def _text(self, ask: str, expected: str) -> str:
        self._backend.tool = None
        return "yes" if expected in await self._ask(ask) else "no"

    async def _tool_call(self) -> str:
        if self._client.tool is None:
            return NONE
        self._backend.tool = self._client.tool
        self._backend.requests.clear()
        said = await self._ask("work it out")
        if ECHOED not in self._backend.results():
            self._print(f"tools that were offered: {', '.join(self._backend.offered())}")
            self._print(f"results: {self._backend.results()[:2000]}")
            return "no"
        return "yes" if WORDS in said else "no words after it"

    async def _ask(self, ask: str) -> str:
        """What the agent printed, blanks made one."""
        command = self._client.command(str(program(self._client)), ask)
        with anyio.move_on_after(WAIT_S) as scope:
            done = await anyio.run_process(
                command, env=self._environment, cwd=self._home, check=False, stdin=subprocess.DEVNULL
            )
        if scope.cancelled_caught:
            self._print(f"{self._client.name}: no end within {WAIT_S:g} s")
            return ""
        said = done.stdout.decode(errors="replace")
        self._print(f"--- {self._client.name}: {ask} (exit code {done.returncode})\n{said}")
        self._print(done.stderr.decode(errors="replace")[-4000:])
        return " ".join(said.split())

    def _print(self, text: str) -> None:
        if self._show:
            sys.stderr.write(f"{text}\n")

    def _base(self) -> Mapping[str, str]:
        """An environment in which nothing of this machine's user shows."""
        places = self._running.places
        return {
            "PATH": f"{program(self._client).parent}:{os.environ['PATH']}",
            "HOME": str(self._home),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "ROUTERD_CONFIG": str(places.config),
            "ROUTERD_SOCKET": str(places.socket),
            "ROUTERD_STATE_DIR": str(places.state),
            "PYTHONPATH": str(self._home),
            **self._client.variables,
        }


if __name__ == "__main__":
    sys.stderr.write(f"agents are installed in {CACHE}\n" if INSIDE not in os.environ else "")
    main()
