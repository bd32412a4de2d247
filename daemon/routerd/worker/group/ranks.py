"""The launcher and, through it, the ranks: starting them, their words, their end."""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
from argparse import Namespace
from collections import deque
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio
import anyio.abc

from .hosts import THIS_MACHINE, Host, hostfile

PREFILL_TOKENS = 512
"""Prompt tokens between two looks at whether the request is still wanted."""
KEPT_PROMPTS = 10
PORTS = range(20_000, 32_000)
"""Below those that systems give out by themselves."""
LAST_WORDS_S = 3.0
"""How long the launcher may take to tell which rank was the first to go."""
SSH_FAILED = 255

_COLOUR = re.compile(r"\x1b\[\d+m")
_ENDED = re.compile(r"Node with rank (\d+) exited with code (-?\d+)")
_DIED = re.compile(r"generation thread died: (?!\[ring\])(.+)")
"""Losing another rank is no reason of a rank's own; neither is a request that was cancelled."""
_ERROR = re.compile(r"(?:\w+\.)*(?!BrokenPipe|ConnectionReset)\w*(?:Error|Exception): (?!\[ring\]).+")


def free_ports(count: int) -> int:
    """The first of ``count`` ports in a row that nobody on this machine listens on."""
    for _ in range(100):
        first = random.choice(PORTS)
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise OSError(f"there are no {count} free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def launch_command(arguments: Namespace, hosts: list[Host], port: int) -> list[str]:
    """How the launcher is started; the first rank serves on ``port``, the ring takes those above it."""
    # The same interpreter runs every rank; their environment does not reach other machines by itself.
    options = ["--backend", "ring", "--starting-port", str(port + 1), "--python", sys.executable]
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        options += ["--env", f"{variable}=1"]
    server = ["-m", "mlx_lm", "server", "--host", THIS_MACHINE, "--port", str(port), "--model", str(arguments.model)]
    server += ["--log-level", "WARNING", "--allowed-origins", "none", "--prefill-step-size", str(PREFILL_TOKENS)]
    server += ["--decode-concurrency", str(arguments.concurrency), "--prompt-concurrency", str(arguments.concurrency)]
    # What it keeps of prompts is what the batch leaves of this, looked at with each new request; without a
    # count of 0 it would keep some until the next one. Each rank counts the bytes of its own part alone.
    server += ["--prompt-cache-bytes", str(arguments.kv_pool // len(hosts))]
    server += ["--prompt-cache-size", str(KEPT_PROMPTS if arguments.kv_pool else 0)]
    return [sys.executable, "-m", "routerd.worker.group.launch", hostfile(hosts), *options, "--", *server]


class Ranks:
    """Living ranks. `watch` must run beside whatever else is done with them."""

    def __init__(self, launcher: anyio.abc.Process, hosts: list[Host]) -> None:
        self._launcher = launcher
        self._hosts = hosts
        self._words: deque[str] = deque(maxlen=200)
        self.gone = anyio.Event()
        """Set when the launcher has ended, and every rank with it."""

    @classmethod
    async def start(cls, arguments: Namespace, hosts: list[Host], port: int) -> Ranks:
        # Its standard input is its lifeline: it ends with this process.
        command = launch_command(arguments, hosts, port)
        return cls(await anyio.open_process(command, stdin=PIPE, stdout=DEVNULL, stderr=PIPE), hosts)

    async def watch(self) -> None:
        """Keep what they say, and repeat it on standard error, until they have ended."""
        assert self._launcher.stderr is not None
        rest = ""
        async for chunk in self._launcher.stderr:
            *lines, rest = (rest + chunk.decode(errors="replace")).split("\n")
            for line in lines:
                self._hear(line)
        self._hear(rest)
        await self._launcher.wait()
        self.gone.set()

    def _hear(self, line: str) -> None:
        if line := _COLOUR.sub("", line).strip():
            self._words.append(line)
            print(line, file=sys.stderr, flush=True)

    async def epitaph(self) -> str:
        """Why they ended, as far as their words tell: the launcher's own code is 0 whatever happened.

        Of ranks that have not all ended, the words of the next `LAST_WORDS_S` are waited for.
        """
        with anyio.move_on_after(LAST_WORDS_S):
            await self.gone.wait()
        return explain(list(self._words), self._hosts)


def explain(words: list[str], hosts: list[Host]) -> str:
    """What lines of the launcher and its ranks say about their end."""
    died = next((match[1] for word in words if (match := _DIED.search(word))), "")
    error = died or next((match[0] for word in reversed(words) if (match := _ERROR.fullmatch(word))), "")
    ended = next((match for word in words if (match := _ENDED.search(word))), None)
    if ended is None:
        return error or (words[-1] if words else "the ranks ended without a word")
    host, code = hosts[int(ended[1])], int(ended[2])
    how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
    if code == SSH_FAILED and not host.local:
        error = f"ssh could not run it (try 'ssh {host.ssh} true')"
    return f"rank {ended[1]} on {host.name} {how}" + (f": {error}" if error else "")


def resident_bytes() -> int:
    """What this process group has in memory on this machine, as far as the system tells it."""
    if sys.platform == "linux":
        return sum(map(_resident, Path("/proc").glob("[0-9]*/stat"))) * os.sysconf("SC_PAGE_SIZE")
    table = subprocess.run(["/bin/ps", "-A", "-o", "pgid=,rss="], capture_output=True, text=True, check=False)
    rows = (line.split() for line in table.stdout.splitlines())
    return sum(int(rss) for group, rss in rows if int(group) == os.getpgrp()) * 1024


def _resident(stat: Path) -> int:
    """Pages of the process ``stat`` is of; 0 where it is not of this group, or has ended."""
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[21]) if int(fields[2]) == os.getpgrp() else 0
